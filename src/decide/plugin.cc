#include "decide/plugin.h"

#include <algorithm>
#include <utility>

namespace backhand {

// One call into the current version.
class Plugin::Call {
public:
    explicit Call(const Plugin& plugin) : plugin_(plugin), room_(plugin.take_room()) {
        // Said first, then looked at again: whoever replaces the version looks for us only after
        // he has replaced it.
        const PluginCode* code = plugin_.current_.load();
        for (;;) {
            room_.in_use.store(code);
            const PluginCode* const now = plugin_.current_.load();
            if (now == code) {
                break;
            }
            code = now;
        }
        code_ = code;
    }

    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    ~Call() {
        room_.in_use.store(nullptr, std::memory_order_release);
        room_.taken.store(false, std::memory_order_release);
    }

    const PluginCode* code() const { return code_; }

    PluginScratch& scratch() const { return room_.scratch; }

private:
    const Plugin& plugin_;
    Room& room_;
    const PluginCode* code_ = nullptr;
};

Plugin::~Plugin() {
    const std::unique_ptr<const PluginCode> last{current_.load()};
    // One by one: a long list that ended itself would do so room within room.
    std::unique_ptr<Room> room{rooms_.load()};
    while (room) {
        room = std::move(room->next);
    }
}

void Plugin::report_to(PluginMarks& marks, Log log) {
    marks_ = &marks;
    log_ = std::move(log);
}

void Plugin::replace(std::unique_ptr<const PluginCode> code) {
    const PluginCode* const old = current_.exchange(code.release());
    if (old != nullptr) {
        retired_.emplace_back(old);
    }
    static_cast<void>(sweep());
}

bool Plugin::sweep() {
    std::erase_if(retired_, [this](const std::unique_ptr<const PluginCode>& code) {
        for (const Room* room = rooms_.load(); room != nullptr; room = room->next.get()) {
            if (room->in_use.load() == code.get()) {
                return false;
            }
        }
        return true;
    });
    return retired_.empty();
}

Plugin::Room& Plugin::take_room() const {
    for (Room* room = rooms_.load(std::memory_order_acquire); room != nullptr;
         room = room->next.get()) {
        if (!room->taken.load(std::memory_order_relaxed) &&
            !room->taken.exchange(true, std::memory_order_acquire)) {
            return *room;
        }
    }
    auto added = std::make_unique<Room>();
    Room* first = rooms_.load();
    do {
        static_cast<void>(added->next.release());
        added->next.reset(first);
    } while (!rooms_.compare_exchange_weak(first, added.get()));
    return *added.release();
}

void Plugin::decide(CandidacySet& set, const DecisionContext& context) const {
    const Call call{*this};
    if (call.code() == nullptr) {
        return;
    }
    AnswerFaults faults;
    try {
        faults = call.code()->decide(set, context, call.scratch());
    } catch (...) {
        // Only a plug-in in C++ can do that; the set is as it was.
        faults.threw = true;
    }
    if (faults.any()) {
        complain(faults, context);
    }
}

void Plugin::sent(const RequestView& request, const ServerView& chosen) const {
    const Call call{*this};
    if (call.code() != nullptr) {
        call.code()->sent(request, chosen);
    }
}

void Plugin::ended(const RequestView& request, std::uint32_t slot_index,
                   const ForwardEnd& end) const {
    const Call call{*this};
    if (call.code() != nullptr) {
        call.code()->ended(request, slot_index, end);
    }
}

void Plugin::complain(const AnswerFaults& faults, const DecisionContext& context) const {
    context.table.counters().add(Counter::plugin_answer_corrected);
    if (marks_ == nullptr) {
        return;
    }
    if (const auto since_last = marks_->note_corrected(context.now)) {
        log_(LogLevel::warning, "plug-in " + source_.text() + ": " + faults.text() +
                                    "; corrected, as were " + std::to_string(*since_last - 1) +
                                    " answers since this was last said");
    }
}

}  // namespace backhand
