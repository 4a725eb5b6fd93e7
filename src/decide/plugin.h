// Plugin: a plug-in's place in a chain, in which one version of its code replaces another while
// requests are being decided about.
//
// The deciding path takes no lock and never waits: it reads which version is current, and says for
// as long as the call lasts which one it is using (a hazard pointer: Michael, "Hazard Pointers",
// 2004).  A version that was replaced is ended once nobody says so any more.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "decide/plugin_board.h"
#include "decide/plugin_code.h"

namespace backhand {

class Plugin {
public:
    explicit Plugin(PluginSource source) : source_(std::move(source)) {}

    Plugin(const Plugin&) = delete;
    Plugin& operator=(const Plugin&) = delete;
    ~Plugin();

    const PluginSource& source() const { return source_; }

    // Where wrong answers are counted and told.  Called once, before the first decision.
    void report_to(PluginMarks& marks, Log log);

    // From now on decisions are made by `code`.  Until the first, the set passes unchanged.
    // By one thread at a time.
    void replace(std::unique_ptr<const PluginCode> code);

    // Ends the versions that no call is using any more.  False if some are left.  By the thread
    // that replaces.
    bool sweep();

    bool is_open() const { return current_.load(std::memory_order_acquire) != nullptr; }

    // nullptr before the first report_to().
    const PluginMarks* marks() const { return marks_; }

    // ---- by any thread ----

    void decide(CandidacySet& set, const DecisionContext& context) const;
    void sent(const RequestView& request, const ServerView& chosen) const;
    void ended(const RequestView& request, std::uint32_t slot_index, const ForwardEnd& end) const;

private:
    // What one call has for itself.  Kept for later calls: there are as many as calls were ever
    // made at a time.
    struct Room {
        std::atomic<bool> taken{true};
        std::atomic<const PluginCode*> in_use{nullptr};
        PluginScratch scratch;
        std::unique_ptr<Room> next;
    };

    class Call;

    Room& take_room() const;
    void complain(const AnswerFaults& faults, const DecisionContext& context) const;

    const PluginSource source_;
    PluginMarks* marks_ = nullptr;
    Log log_;

    std::atomic<const PluginCode*> current_{nullptr};
    std::vector<std::unique_ptr<const PluginCode>> retired_;

    mutable std::atomic<Room*> rooms_{nullptr};  // the first of a list that only grows
};

// What stands in the chain.  `Backhand off` may take it out again while the plug-in is still known
// elsewhere.
class PluginFunction final : public CandidacyFunction {
public:
    explicit PluginFunction(std::shared_ptr<const Plugin> plugin) : plugin_(std::move(plugin)) {}

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        plugin_->decide(set, context);
    }

    // Which version will be there then is not known when the chain is made.
    bool wants_feedback() const override { return true; }

    void sent(const RequestView& request, const ServerView& chosen) const override {
        plugin_->sent(request, chosen);
    }

    void ended(const RequestView& request, std::uint32_t slot_index,
               const ForwardEnd& end) const override {
        plugin_->ended(request, slot_index, end);
    }

private:
    std::shared_ptr<const Plugin> plugin_;
};

}  // namespace backhand
