"""Announcements of servers that do not exist, as docs/wire_format.md describes them."""

import struct

# magic, format version, key id, reserved, boot id, measurement
HEADER = struct.Struct(">4sBBHQQ")
MAGIC = b"BHND"
FORMAT_VERSION = 1
NOT_SIGNED = 0


def announcement(body, boot_id, measurement):
    """One datagram of a report's body.  Cheap: a generator calls it for every datagram it sends."""
    return HEADER.pack(MAGIC, FORMAT_VERSION, NOT_SIGNED, 0, boot_id, measurement) + body


def report_body(name, contact, services, **changes):
    """The CBOR map of a report with every field that the module itself sends."""
    fields = {
        "name": name, "contact": contact, "services": services, "arriba": 512_000, "load_permille": 1_250,
        "load_hwm": 4, "cpu_idle_permille": 640, "cpus_permille": 8000, "memory_total_bytes": 16_777_216_000,
        "memory_available_bytes": 12_884_901_888, "workers_max": 150, "workers_busy": 7, "workers_idle": 68,
        "serving": 5, "forwarding": 1, "interval_ms": 100, "keepalive_timeout_ms": 5_000,
        "connection_holds_worker": False, "leaving": False}
    return _cbor({**fields, **changes})


def _cbor(value):
    """RFC 8949, for what a report is made of."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _cbor_head(0, value)
    if isinstance(value, str):
        text = value.encode()
        return _cbor_head(3, len(text)) + text
    if isinstance(value, list):
        return _cbor_head(4, len(value)) + b"".join(map(_cbor, value))
    assert isinstance(value, dict), value
    return _cbor_head(5, len(value)) + b"".join(_cbor(name) + _cbor(item) for name, item in value.items())


def _cbor_head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    for short, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | short]) + number.to_bytes(size, "big")
    raise ValueError(f"{number} does not fit into 64 bits")
