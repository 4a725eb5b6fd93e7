#include "measure/cgroup.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

namespace backhand {

namespace {

// Deeper than any service manager or container makes them.  The own group and those above it count
// first, so what is cut off are the topmost.
constexpr std::size_t levels_max = 32;

// A machine with thousands of mounts has some hundred kilobytes of this.
constexpr std::size_t mountinfo_bytes_max = 4UL * 1024 * 1024;
constexpr std::size_t cgroup_bytes_max = 64UL * 1024;

// What version 1 says for "no limit" is the largest number of pages, which depends on the machine.
constexpr std::uint64_t memory_unlimited_bytes = std::uint64_t{1} << 60U;

// 146 years of one CPU: whatever says more is nonsense.
constexpr std::uint64_t used_ns_max = std::uint64_t{1} << 62U;

// Cuts everything before the first `separator` off `text`, and the separator.
std::string_view take_until(std::string_view& text, char separator) {
    const std::string_view part = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    return part;
}

// Is `name` one of "cpu,cpuacct"?
bool lists(std::string_view names, std::string_view name) {
    while (!names.empty()) {
        if (take_until(names, ',') == name) {
            return true;
        }
    }
    return false;
}

// Is `path` the folder `root`, or below it?
bool is_within(std::string_view path, std::string_view root) {
    return root == "/" ||
           (path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/'));
}

// Control groups above the one at which this process's view begins are shown as "..".
bool leads_upwards(std::string_view path) {
    return path.ends_with("/..") || path.find("/../") != std::string_view::npos;
}

// mountinfo writes blanks, line ends and backslashes as "\040".
std::string unescape(std::string_view text) {
    constexpr std::size_t escape_size = 4;
    std::string plain;
    while (!text.empty()) {
        const auto byte = text.front() == '\\' && text.size() >= escape_size
                              ? parse_number<std::uint8_t>(text.substr(1, escape_size - 1), 8)
                              : std::nullopt;
        plain += byte ? static_cast<char>(*byte) : text.front();
        text.remove_prefix(byte ? escape_size : 1);
    }
    return plain;
}

// In which control group a process is.
struct Membership {
    CgroupVersion version = CgroupVersion::v2;
    std::string_view path;
};

// A line of /proc/self/cgroup: "4:cpu,cpuacct:/a/b", or "0::/a/b" for version 2.
struct CgroupLine {
    std::string_view controllers;
    std::string_view path;
};

std::optional<CgroupLine> parse_cgroup_line(std::string_view line) {
    if (!parse_number<std::uint32_t>(take_until(line, ':'))) {
        return std::nullopt;
    }
    const std::string_view controllers = take_until(line, ':');
    if (!line.starts_with('/')) {
        return std::nullopt;
    }
    return CgroupLine{controllers, line};
}

// A controller that version 1 has is not to be had in version 2.
std::optional<Membership> find_membership(std::string_view cgroup, std::string_view controller) {
    std::optional<Membership> unified;
    while (!cgroup.empty()) {
        const auto line = parse_cgroup_line(take_line(cgroup));
        if (line && lists(line->controllers, controller)) {
            return Membership{CgroupVersion::v1, line->path};
        }
        if (line && line->controllers.empty()) {
            unified = Membership{CgroupVersion::v2, line->path};
        }
    }
    return unified;
}

struct Mount {
    CgroupVersion version = CgroupVersion::v2;
    std::string root;              // which folder of the hierarchy is mounted
    std::string point;             // where
    std::string_view controllers;  // version 1; among other options
};

enum class MountLine { cgroup, other, nonsense };

// "36 35 0:29 /root /mount/point rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct"
MountLine parse_mount_line(std::string_view line, Mount& mount) {
    constexpr int words_before_root = 3;
    for (int count = 0; count < words_before_root; ++count) {
        take_word(line);
    }
    const std::string_view root = take_word(line);
    const std::string_view point = take_word(line);
    std::string_view word = take_word(line);
    while (!word.empty() && word != "-") {
        word = take_word(line);
    }
    const std::string_view type = take_word(line);
    if (type.empty() || !point.starts_with('/')) {
        return MountLine::nonsense;
    }
    if (type != "cgroup" && type != "cgroup2") {
        return MountLine::other;
    }
    mount.version = type == "cgroup2" ? CgroupVersion::v2 : CgroupVersion::v1;
    mount.root = unescape(root);
    mount.point = unescape(point);
    take_word(line);  // the device's name, which is no device's
    mount.controllers = take_word(line);
    return MountLine::cgroup;
}

// Nothing if no line is one of mountinfo.
std::optional<std::vector<Mount>> parse_mounts(std::string_view mountinfo) {
    std::vector<Mount> mounts;
    bool believable = false;
    while (!mountinfo.empty()) {
        Mount mount;
        const MountLine kind = parse_mount_line(take_line(mountinfo), mount);
        believable = believable || kind != MountLine::nonsense;
        if (kind == MountLine::cgroup) {
            mounts.push_back(std::move(mount));
        }
    }
    return believable ? std::optional{std::move(mounts)} : std::nullopt;
}

bool folder_exists(const std::string& folder) {
    return ::access(folder.c_str(), X_OK) == 0;
}

// Adds `folder` and those above it, up to `top`.
void add_folders_up_to(const std::string& top, std::string folder,
                       std::vector<std::string>& folders) {
    while (folders.size() < levels_max) {
        folders.push_back(folder);
        if (folder.size() <= top.size()) {
            return;
        }
        folder.resize(std::max(top.size(), folder.rfind('/')));
    }
}

class Finder {
public:
    Finder(std::string_view cgroup, const std::vector<Mount>& mounts, const std::string& root)
        : cgroup_(cgroup),
          mounts_(mounts),
          root_(root) {}

    CgroupFolders find(std::string_view controller) const {
        const auto membership = find_membership(cgroup_, controller);
        return membership ? folders_of(*membership, controller) : CgroupFolders{};
    }

    // Where version 1 counts the CPU time of each of `cpu.folders`.
    std::vector<std::string> find_cpu_usage(const CgroupFolders& cpu) const {
        const auto counted = find_membership(cgroup_, "cpuacct");
        const auto limited = find_membership(cgroup_, "cpu");
        // The two may be hierarchies of their own.  Then what is counted is only that of the same
        // processes if the groups bear the same names.
        if (!counted || !limited || counted->version != CgroupVersion::v1 ||
            cpu.version != CgroupVersion::v1 || counted->path != limited->path) {
            return {};
        }
        auto usage = folders_of(*counted, "cpuacct").folders;
        return usage.size() == cpu.folders.size() ? usage : std::vector<std::string>{};
    }

private:
    CgroupFolders folders_of(const Membership& membership, std::string_view controller) const {
        CgroupFolders found{.version = membership.version, .folders = {}};
        const Mount* best = nullptr;
        for (const Mount& mount : mounts_) {
            // The mount that begins highest shows most ancestors.
            if (serves(mount, membership, controller) &&
                folder_exists(folder_in(mount, membership.path)) &&
                (best == nullptr || mount.root.size() < best->root.size())) {
                best = &mount;
            }
        }
        if (best != nullptr) {
            add_folders_up_to(top_of(*best), folder_in(*best, membership.path), found.folders);
            return found;
        }
        for (const Mount& mount : mounts_) {
            if (is_of(mount, membership, controller) && may_stand_above(mount, membership.path) &&
                folder_exists(top_of(mount))) {
                found.folders.push_back(top_of(mount));
                return found;
            }
        }
        return found;
    }

    // The names by which a container knows its groups may be others than those that are mounted:
    // then the mounted one is its own, or an ancestor.
    static bool may_stand_above(const Mount& mount, std::string_view path) {
        const bool is_below = is_within(mount.root, path) && !leads_upwards(mount.root);
        return !is_below && !leads_upwards(path);
    }

    static bool is_of(const Mount& mount, const Membership& membership,
                      std::string_view controller) {
        return mount.version == membership.version &&
               (mount.version == CgroupVersion::v2 || lists(mount.controllers, controller));
    }

    static std::string_view below_root(const Mount& mount, std::string_view path) {
        path.remove_prefix(mount.root == "/" ? 0 : mount.root.size());
        return path == "/" ? std::string_view{} : path;
    }

    static bool serves(const Mount& mount, const Membership& membership,
                       std::string_view controller) {
        return is_of(mount, membership, controller) && is_within(membership.path, mount.root) &&
               !leads_upwards(below_root(mount, membership.path));
    }

    std::string top_of(const Mount& mount) const { return root_ + mount.point; }

    std::string folder_in(const Mount& mount, std::string_view path) const {
        return top_of(mount).append(below_root(mount, path));
    }

    std::string_view cgroup_;
    const std::vector<Mount>& mounts_;
    const std::string& root_;
};

// The level among `before` that reads the same folders, so that its files stay open and its counts
// go on; else a new one.
template <class Level, class... Folders>
Level keep_or_make(std::vector<Level>& before, CgroupVersion version, const Folders&... folders) {
    for (Level& level : before) {
        if (level.is_at(folders...)) {
            level.look_again();
            return std::move(level);
        }
    }
    return Level{version, folders...};
}

// The smallest number that `number_of` has for any of `levels`.
template <class Number, class Level>
std::optional<Number> smallest(const std::vector<Level>& levels,
                               std::optional<Number> (Level::*number_of)() const) {
    std::optional<Number> smallest;
    for (const Level& level : levels) {
        const std::optional<Number> number = (level.*number_of)();
        if (number && (!smallest || *number < *smallest)) {
            smallest = number;
        }
    }
    return smallest;
}

}  // namespace

std::optional<OwnCgroups> find_own_cgroups(std::string_view cgroup, std::string_view mountinfo,
                                           const std::string& root) {
    std::string_view first_line = cgroup;
    const auto mounts = parse_mounts(mountinfo);
    if (!mounts || !parse_cgroup_line(take_line(first_line))) {
        return std::nullopt;
    }
    const Finder finder{cgroup, *mounts, root};
    OwnCgroups own;
    own.cpu = finder.find("cpu");
    own.memory = finder.find("memory");
    own.cpu_usage_folders = finder.find_cpu_usage(own.cpu);
    // No controller of version 1 has this name: version 2's group, whatever else it does.
    if (const CgroupFolders pressure = finder.find(""); !pressure.folders.empty()) {
        own.pressure_folder = pressure.folders.front();
    }
    return own;
}

// ---- CPU ----

std::optional<double> CountRate::take(std::optional<std::uint64_t> count, MonotonicTime now) {
    if (!count) {
        return std::nullopt;  // the next one will tell of the time since the last
    }
    std::optional<double> rate;
    if (before_) {
        const Nanoseconds time = elapsed(before_at_, now);
        if (time <= Nanoseconds{0}) {
            return std::nullopt;
        }
        if (*count >= *before_) {
            rate = static_cast<double>(*count - *before_) / static_cast<double>(time.count());
        }
    }
    before_ = count;
    before_at_ = now;
    return rate;
}

CgroupCpu::CgroupCpu(CgroupVersion version, std::string folder, std::string usage_folder)
    : version_(version),
      folder_(std::move(folder)),
      usage_folder_(std::move(usage_folder)),
      quota_file_(folder_ + (version == CgroupVersion::v2 ? "/cpu.max" : "/cpu.cfs_quota_us")),
      period_file_(folder_ + "/cpu.cfs_period_us"),
      stat_(folder_ + "/cpu.stat"),
      usage_file_(usage_folder_ + "/cpuacct.usage") {}

void CgroupCpu::look_again() noexcept {
    for (KernelFile* file : {&quota_file_, &period_file_, &stat_, &usage_file_}) {
        file->look_again();
    }
}

bool CgroupCpu::vanished() const {
    return quota_file_.vanished() || period_file_.vanished() || stat_.vanished() ||
           usage_file_.vanished();
}

// Version 2: "50000 100000", or "max 100000".  Version 1: 50000, or -1, and the period in another
// file.
void CgroupCpu::read_quota(std::span<char> buffer) noexcept {
    const auto text = quota_file_.read(buffer);
    if (!text) {
        if (!quota_file_.vanished()) {
            quota_.reset();
        }
        return;
    }
    std::string_view rest = *text;
    std::string_view line = take_line(rest);
    const std::string_view word = take_word(line);
    if (word == (version_ == CgroupVersion::v2 ? "max" : "-1")) {
        quota_.reset();
        return;
    }
    const auto quota_us = parse_number<std::uint64_t>(word);
    std::optional<std::uint64_t> period_us;
    if (version_ == CgroupVersion::v2) {
        period_us = only_number(line);
    } else if (const auto period = period_file_.read(buffer)) {
        period_us = only_number(*period);
    }
    if (quota_us && period_us) {
        take_quota(*quota_us, *period_us);
    }
}

void CgroupCpu::take_quota(std::uint64_t quota_us, std::uint64_t period_us) {
    // The kernel's own bounds for a period are a millisecond and a second.
    constexpr std::uint64_t period_us_max = 1'000'000;
    constexpr double microsecond_ns = 1000;
    if (quota_us == 0 || period_us == 0 || period_us > period_us_max) {
        return;
    }
    quota_ = static_cast<double>(quota_us) / static_cast<double>(period_us);
    period_ns_ = static_cast<double>(period_us) * microsecond_ns;
}

void CgroupCpu::read_usage(std::span<char> buffer, MonotonicTime now) noexcept {
    if (!quota_) {
        used_.forget();
        throttled_.forget();
        unused_.reset();
        return;
    }
    const std::string_view stat = stat_.read(buffer).value_or(std::string_view{});
    const auto throttled = throttled_.take(named_number(stat, "nr_throttled"), now);
    const auto used = used_.take(used_ns(stat, buffer), now);
    if ((!used && used_.has_count()) || (!used && !throttled)) {
        return;
    }
    double unused = *quota_ - used.value_or(0);
    if (throttled) {
        // A group that spends its quota early in a period stands still until its end, however
        // little that is on average.
        unused = std::min(unused, *quota_ * (1 - *throttled * period_ns_));
    }
    unused_ = std::max(unused, 0.0);
}

std::optional<std::uint64_t> CgroupCpu::used_ns(std::string_view stat,
                                                std::span<char> buffer) noexcept {
    constexpr std::uint64_t microsecond_ns = 1000;
    if (version_ == CgroupVersion::v2) {
        const auto used_us = named_number(stat, "usage_usec");
        return used_us && *used_us <= used_ns_max / microsecond_ns
                   ? std::optional{*used_us * microsecond_ns}
                   : std::nullopt;
    }
    const auto text = usage_folder_.empty() ? std::nullopt : usage_file_.read(buffer);
    const auto used = text ? only_number(*text) : std::nullopt;
    return used && *used <= used_ns_max ? used : std::nullopt;
}

// ---- memory ----

CgroupMemory::CgroupMemory(CgroupVersion version, std::string folder)
    : version_(version),
      folder_(std::move(folder)),
      limit_file_(folder_ +
                  (version == CgroupVersion::v2 ? "/memory.max" : "/memory.limit_in_bytes")),
      usage_file_(folder_ +
                  (version == CgroupVersion::v2 ? "/memory.current" : "/memory.usage_in_bytes")),
      stat_(folder_ + "/memory.stat") {}

void CgroupMemory::look_again() noexcept {
    for (KernelFile* file : {&limit_file_, &usage_file_, &stat_}) {
        file->look_again();
    }
}

bool CgroupMemory::vanished() const {
    return limit_file_.vanished() || usage_file_.vanished() || stat_.vanished();
}

void CgroupMemory::read(std::span<char> buffer) noexcept {
    read_limit(buffer);
    if (limit_bytes_) {
        read_usage(buffer);
    } else {
        unused_bytes_.reset();
    }
}

void CgroupMemory::read_limit(std::span<char> buffer) noexcept {
    const auto text = limit_file_.read(buffer);
    if (!text) {
        if (!limit_file_.vanished()) {
            limit_bytes_.reset();
        }
        return;
    }
    const auto limit = only_number(*text);
    if (*text == "max\n" || (limit && *limit >= memory_unlimited_bytes)) {
        limit_bytes_.reset();
    } else if (limit && *limit > 0) {
        limit_bytes_ = limit;
    }
}

void CgroupMemory::read_usage(std::span<char> buffer) noexcept {
    std::optional<std::uint64_t> used;
    if (const auto text = usage_file_.read(buffer)) {
        used = only_number(*text);
    }
    if (!used) {
        return;
    }
    std::uint64_t reclaimable = 0;
    if (const auto text = stat_.read(buffer)) {
        // Version 1's plain "inactive_file" leaves out the groups below.
        const auto inactive = named_number(
            *text, version_ == CgroupVersion::v2 ? "inactive_file" : "total_inactive_file");
        if (!inactive) {
            return;
        }
        reclaimable = *inactive;
    }
    const std::uint64_t in_use = *used - std::min(*used, reclaimable);
    unused_bytes_ = *limit_bytes_ - std::min(*limit_bytes_, in_use);
}

// ---- all of them ----

CgroupMeter::CgroupMeter(const std::string& proc_folder, std::string root)
    : cgroup_path_(proc_folder + "/self/cgroup"),
      mountinfo_path_(proc_folder + "/self/mountinfo"),
      root_(std::move(root)) {}

void CgroupMeter::find() {
    const auto cgroup = read_whole_file(cgroup_path_, cgroup_bytes_max);
    const auto mountinfo = read_whole_file(mountinfo_path_, mountinfo_bytes_max);
    const auto own =
        cgroup && mountinfo ? find_own_cgroups(*cgroup, *mountinfo, root_) : std::nullopt;
    if (!own) {
        return;
    }
    std::vector<CgroupCpu> cpu;
    for (std::size_t index = 0; index < own->cpu.folders.size(); ++index) {
        const std::string usage_folder =
            own->cpu_usage_folders.empty() ? std::string{} : own->cpu_usage_folders[index];
        cpu.push_back(keep_or_make(cpu_, own->cpu.version, own->cpu.folders[index], usage_folder));
    }
    std::vector<CgroupMemory> memory;
    for (const std::string& folder : own->memory.folders) {
        memory.push_back(keep_or_make(memory_, own->memory.version, folder));
    }
    cpu_ = std::move(cpu);
    memory_ = std::move(memory);
    pressure_folder_ = own->pressure_folder;
}

bool CgroupMeter::lost() const {
    const auto vanished = [](const auto& level) { return level.vanished(); };
    return std::any_of(cpu_.begin(), cpu_.end(), vanished) ||
           std::any_of(memory_.begin(), memory_.end(), vanished);
}

void CgroupMeter::read_limits_and_memory(std::span<char> buffer) noexcept {
    for (CgroupCpu& level : cpu_) {
        level.read_quota(buffer);
    }
    for (CgroupMemory& level : memory_) {
        level.read(buffer);
    }
}

void CgroupMeter::read_cpu_usage(std::span<char> buffer, MonotonicTime now) noexcept {
    for (CgroupCpu& level : cpu_) {
        level.read_usage(buffer, now);
    }
}

std::optional<double> CgroupMeter::cpus() const {
    return smallest(cpu_, &CgroupCpu::quota);
}

std::optional<double> CgroupMeter::cpus_unused() const {
    return smallest(cpu_, &CgroupCpu::unused);
}

std::optional<std::uint64_t> CgroupMeter::memory_bytes() const {
    return smallest(memory_, &CgroupMemory::limit_bytes);
}

std::optional<std::uint64_t> CgroupMeter::memory_unused_bytes() const {
    return smallest(memory_, &CgroupMemory::unused_bytes);
}

}  // namespace backhand
