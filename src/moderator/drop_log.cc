#include "moderator/drop_log.h"

#include <string_view>

namespace backhand {

namespace {

constexpr Nanoseconds line_every = std::chrono::seconds{1};
constexpr std::string_view name_prefix = "datagrams_";

}  // namespace

void DropLog::note(Counter reason, const IpAddress& from) {
    ++dropped_[static_cast<std::size_t>(reason)];
    last_from_ = from;
    any_ = true;
}

std::optional<std::string> DropLog::line(MonotonicTime now) {
    if (!any_ || (written_at_ != 0 && elapsed(written_at_, now) < line_every)) {
        return std::nullopt;
    }
    std::string text = "dropped announcements:";
    std::string_view separator = " ";
    for (std::size_t index = 0; index < counters_count; ++index) {
        if (dropped_[index] != 0) {
            std::string_view reason = counter_names[index];
            reason.remove_prefix(reason.starts_with(name_prefix) ? name_prefix.size() : 0);
            text.append(separator).append(std::to_string(dropped_[index])).append(" ");
            text.append(reason);
            separator = ", ";
        }
    }
    text += "; the last from " + last_from_.to_string();
    dropped_ = {};
    any_ = false;
    written_at_ = now;
    return text;
}

}  // namespace backhand
