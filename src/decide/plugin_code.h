// PluginCode: one version of a plug-in, loaded into this process, for one line of the
// configuration.
//
// A file has one of two interfaces: the original's (include/backhand/mod_backhand.h) or today's
// (include/backhand/plugin.h).  Which one is found out when it is opened; the rest of the project
// sees no difference.
//
// What a plug-in answers is never believed: it is code that someone else wrote.  Every answer is
// put right, and what was wrong with it is told.
//
// Loaded objects are never unloaded: a plug-in may have started a thread, or left a pointer to its
// code somewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backhand/plugin.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "decide/candidacy.h"

namespace backhand {

// What a line of the configuration says.
struct PluginSource {
    std::string file;
    std::string function;  // the original's interface: a symbol; today's: a plug-in's name
    std::string argument;
    std::string written_at;  // file:line of the configuration

    // As it would be written after `Backhand`.
    std::string text() const;
};

// What was wrong with one answer.
struct AnswerFaults {
    int asked = 0;                   // candidates it was given
    int count = 0;                   // how many it says it has left
    std::uint32_t impossible = 0;    // of those: servers that were never candidates
    std::uint32_t repeated = 0;      // ... that were there already
    std::uint32_t not_a_number = 0;  // ... whose score is none
    bool count_impossible = false;   // negative, or more than there is room for
    bool counts_differ = false;      // the original's: *n and the returned value
    bool wrote_beyond = false;       // behind the end of what it may write to
    bool threw = false;              // an exception

    bool any() const {
        return impossible != 0 || repeated != 0 || not_a_number != 0 || count_impossible ||
               counts_differ || wrote_beyond || threw;
    }

    // "answered with 7 of 3 candidates, 2 of them impossible".
    std::string text() const;
};

// Room to work in for one call at a time, kept so that calls allocate nothing.
struct PluginScratch {
    std::vector<backhand_candidate> candidates;
    std::vector<int> order;
    std::vector<double> scores;
    std::vector<double> scores_by_index;
    std::vector<std::uint32_t> members;
    std::vector<std::uint8_t> taken;
};

class PluginCode {
public:
    PluginCode() = default;
    PluginCode(const PluginCode&) = delete;
    PluginCode& operator=(const PluginCode&) = delete;
    virtual ~PluginCode() = default;

    // "original" or "plugin.h".
    virtual std::string_view interface() const = 0;

    // Called by several threads at a time, each with a scratch of its own.
    virtual AnswerFaults decide(CandidacySet& set, const DecisionContext& context,
                                PluginScratch& scratch) const = 0;

    virtual void sent(const RequestView&, const ServerView& /*chosen*/) const {}

    virtual void ended(const RequestView&, std::uint32_t /*slot_index*/, const ForwardEnd&) const {}
};

// Loads what lies behind the descriptor, which must have been opened for reading.
// Error refused says what is wrong with it.
Result<std::unique_ptr<const PluginCode>> open_plugin(UniqueFd file, const PluginSource& source);

// The same by path, for tools: whoever debugs finds the file by its name.
Result<std::unique_ptr<const PluginCode>> open_plugin_by_path(const PluginSource& source);

// ---- for the two kinds ----

// Places behind the end of an array a plug-in writes to, to see whether it kept to the array.
constexpr std::size_t guard_places = 8;

// Replaces the members of the set by those that `order` names, as indices into set.servers(),
// which must be below `servers_count`; counts in `faults` what had to be left out.
void take_order(std::span<const int> order, CandidacySet& set, PluginScratch& scratch,
                AnswerFaults& faults);

}  // namespace backhand
