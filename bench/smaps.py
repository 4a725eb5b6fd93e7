"""What the memory of a process amounts to, as the kernel adds it up."""

from pathlib import Path


def memory_mib(pid):
    """Rss, Pss (its own, and its share of what others have too) and Private (its own)."""
    sizes = dict.fromkeys(["Rss", "Pss", "Private_Clean", "Private_Dirty"], 0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) / 1024
    return {**sizes, "Private": sizes["Private_Clean"] + sizes["Private_Dirty"]}
