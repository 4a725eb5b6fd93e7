#include "base/trusted_file.h"

#include <array>
#include <cerrno>
#include <climits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/system_error.h"

namespace backhand {

namespace {

// As many as Linux follows.
constexpr int links_max = 40;

// The last directory on the way to a file, and the file's name in it.
struct Place {
    UniqueFd directory;
    std::string name;
    std::string path;  // of the file, with the links that were followed replaced
};

// `asked` is the path as the operator wrote it, `path` what is wrong on the way.
std::string subject(const std::string& asked, const std::string& path) {
    return asked == path ? path : asked + ": " + path;
}

Error failure(const std::string& asked, const std::string& path) {
    return last_system_error(subject(asked, path));
}

Error refusal(const std::string& asked, const std::string& path, const std::string& what) {
    return {Error::Kind::refused, subject(asked, path) + " " + what};
}

std::string user(uid_t id) {
    return id == 0 ? "root" : "user " + std::to_string(id);
}

// What is wrong with whom an entry belongs to; empty if nothing.
std::string owner_trouble(const struct stat& entry, uid_t owner) {
    if (entry.st_uid == 0 || entry.st_uid == owner) {
        return "";
    }
    return "belongs to " + user(entry.st_uid) + ": expected it to belong to root" +
           (owner == 0 ? "" : " or " + user(owner));
}

enum class Sticky { allowed, refused };

// The same for whom an entry belongs to and who can write it.
std::string trouble(const std::string& path, const struct stat& entry, uid_t owner, Sticky sticky) {
    const bool writable_by_others = (entry.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    const bool sticky_directory =
        sticky == Sticky::allowed && S_ISDIR(entry.st_mode) && (entry.st_mode & S_ISVTX) != 0;
    // Nobody can write a link, but its mode says that all can.
    if (writable_by_others && !sticky_directory && !S_ISLNK(entry.st_mode)) {
        return "can be changed by others than its owner: chmod go-w " + path;
    }
    return owner_trouble(entry, owner);
}

// The names in `path`, the first one last.
std::vector<std::string> names_of(const std::string& path) {
    std::vector<std::string> names;
    std::size_t end = path.size();
    while (end > 0) {
        const std::size_t slash = path.rfind('/', end - 1);
        const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
        if (begin < end) {
            names.push_back(path.substr(begin, end - begin));
        }
        end = slash == std::string::npos ? 0 : slash;
    }
    return names;
}

class Walk {
public:
    Walk(const std::string& path, uid_t owner, Sticky sticky = Sticky::allowed)
        : asked_(path),
          owner_(owner),
          sticky_(sticky),
          names_(names_of(path)) {}

    // Up to the last name, which is not looked at.
    Result<Place> to_last_name() {
        if (const Status taken = take_names(1); !taken) {
            return taken.error();
        }
        place_.name = names_.back();
        place_.path += "/" + place_.name;
        return std::move(place_);
    }

    Status to_the_end() { return take_names(0); }

    // Opens what was judged, by the descriptor it was judged by: nobody can have replaced it since.
    Result<UniqueFd> open_the_end() {
        if (Status taken = take_names(0); !taken) {
            return taken.error();
        }
        if (!S_ISREG(entry_.st_mode)) {
            return refusal(asked_, place_.path, "is not a regular file");
        }
        const std::string link = "/proc/self/fd/" + std::to_string(place_.directory.get());
        UniqueFd file{::open(link.c_str(), O_RDONLY | O_CLOEXEC)};
        return file ? Result<UniqueFd>{std::move(file)} : failure(asked_, place_.path);
    }

private:
    // Until so many are left; place_.directory is then what was taken last.
    Status take_names(std::size_t left_count) {
        Status taken = start_at_root();
        while (taken && names_.size() > left_count) {
            taken = take_name();
        }
        return taken;
    }

    Status start_at_root() {
        place_ = {UniqueFd{::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)}, "", ""};
        return judge("/", place_.directory);
    }

    Status judge(const std::string& path, const UniqueFd& opened) {
        if (!opened || ::fstat(opened.get(), &entry_) != 0) {
            return failure(asked_, path);
        }
        const std::string wrong = trouble(path, entry_, owner_, sticky_);
        return wrong.empty() ? Status{Done{}} : refusal(asked_, path, wrong);
    }

    // O_PATH: to look at an entry needs no right to read it, and wakes no device.
    UniqueFd open_entry(const std::string& name) const {
        constexpr int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
        // O_DIRECTORY, where one must be, mounts what is mounted on demand.
        if (!names_.empty()) {
            const int directory =
                ::openat(place_.directory.get(), name.c_str(), flags | O_DIRECTORY);
            if (directory >= 0 || errno != ENOTDIR) {
                return UniqueFd{directory};
            }
        }
        return UniqueFd{::openat(place_.directory.get(), name.c_str(), flags)};
    }

    Status take_name() {
        const std::string name = std::move(names_.back());
        names_.pop_back();
        const std::string path = place_.path + "/" + name;
        UniqueFd opened = open_entry(name);
        if (Status allowed = judge(path, opened); !allowed) {
            return allowed;
        }
        if (S_ISLNK(entry_.st_mode)) {
            return follow(path, opened);
        }
        place_.directory = std::move(opened);
        place_.path = path;
        return Done{};
    }

    Status follow(const std::string& path, const UniqueFd& link) {
        if (++links_count_ > links_max) {
            errno = ELOOP;
            return failure(asked_, path);
        }
        std::array<char, PATH_MAX> buffer{};
        const ssize_t size = ::readlinkat(link.get(), "", buffer.data(), buffer.size());
        if (size < 0) {
            return failure(asked_, path);
        }
        const std::string target{buffer.data(), static_cast<std::size_t>(size)};
        const std::vector<std::string> names = names_of(target);
        names_.insert(names_.end(), names.begin(), names.end());
        return target.starts_with('/') ? start_at_root() : Done{};
    }

    const std::string asked_;
    const uid_t owner_;
    const Sticky sticky_;
    std::vector<std::string> names_;  // still to be taken, the next one last
    Place place_;

    struct stat entry_ {};  // what was judged last

    int links_count_ = 0;
};

Status check_form(const std::string& path) {
    if (path.starts_with('/') && !path.ends_with('/')) {
        return Done{};
    }
    return Error{Error::Kind::malformed, "\"" + path + "\": expected the absolute path of a file"};
}

}  // namespace

Status check_trusted_file(const std::string& path, uid_t owner) {
    Status good = check_form(path);
    return good ? Walk{path, owner}.to_the_end() : good;
}

Result<UniqueFd> open_secret_file(const std::string& path, uid_t owner) {
    if (const Status good = check_form(path); !good) {
        return good.error();
    }
    const auto place = Walk{path, owner}.to_last_name();
    if (!place) {
        return place.error();
    }
    UniqueFd file{::openat(place->directory.get(), place->name.c_str(),
                           O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (!file && errno == ELOOP) {
        return refusal(path, place->path, "is a symbolic link: expected the file itself");
    }

    struct stat entry {};

    if (!file || ::fstat(file.get(), &entry) != 0) {
        return failure(path, place->path);
    }
    if (!S_ISREG(entry.st_mode)) {
        return refusal(path, place->path, "is not a regular file");
    }
    if (const std::string wrong = owner_trouble(entry, owner); !wrong.empty()) {
        return refusal(path, place->path, wrong);
    }
    if ((entry.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return refusal(path, place->path,
                       "can be used by others than its owner: expected a file that only its owner "
                       "can read: chmod 600 " +
                           place->path);
    }
    return file;
}

Result<UniqueFd> open_code_file(const std::string& path, uid_t owner) {
    if (const Status good = check_form(path); !good) {
        return good.error();
    }
    return Walk{path, owner, Sticky::refused}.open_the_end();
}

}  // namespace backhand
