// Counters: what happened since this server started, for the report page.
//
// Kept in shared memory, raised by any process with one relaxed addition.  A count names one
// outcome, so that an operator who sees it rise knows what to look at.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace backhand {

enum class Counter : std::uint8_t {
    datagrams_sent,
    datagrams_failed,
    datagrams_accepted,
    datagrams_own,
    datagrams_from_stranger,
    datagrams_short,
    datagrams_long,
    datagrams_of_other_version,
    datagrams_unsigned,
    datagrams_of_unknown_key,
    datagrams_forged,
    datagrams_malformed,
    datagrams_implausible,
    datagrams_replayed,
    datagrams_contact_refused,
    datagrams_cluster_full,
    challenges_sent,
    challenges_passed,
    challenges_failed,
    challenges_answered,
    challenges_refused,
    probes_sent,
    probes_answered,
    probes_unanswered,
    probes_failed,
    probes_withheld,
    probe_answers_late,
    probe_answers_refused,
    probed_answered,
    probed_failed,
    probed_from_stranger,
    probed_malformed,
    probed_of_other_version,
    probed_unsigned,
    probed_of_unknown_key,
    probed_forged,
    decisions,
    decisions_dry_run,
    served_here_idle,
    served_here_by_choice,
    served_here_no_candidate,
    served_here_limit_reached,
    served_here_after_failure,
    redirected,
    forwarded,
    forward_connect_failed,
    forward_stale_connection,
    forward_reset,
    forward_timed_out,
    forward_bad_response,
    forward_truncated,
    forward_declined,
    forward_answered_502,
    forward_tried_again,
    forward_budget_spent,
    forward_upgraded,
    worker_kept,
    connections_from_cache,
    connections_from_pool,
    connections_opened,
    connections_opened_ahead,
    connections_given_back,
    connections_refused_by_pool,
    proxied_accepted,
    proxied_declined,
    proxied_busy,
    proxied_header_removed,
    proxied_unsigned,
    proxied_replayed,
    plugin_answer_corrected,
    plugin_replaced,
    plugin_refused,
    end,
};

constexpr std::size_t counters_count = static_cast<std::size_t>(Counter::end);

// In the order of Counter; the names used in the JSON report.
constexpr std::array<std::string_view, counters_count> counter_names = {
    "datagrams_sent",
    "datagrams_failed",
    "datagrams_accepted",
    "datagrams_own",
    "datagrams_from_stranger",
    "datagrams_short",
    "datagrams_long",
    "datagrams_of_other_version",
    "datagrams_unsigned",
    "datagrams_of_unknown_key",
    "datagrams_forged",
    "datagrams_malformed",
    "datagrams_implausible",
    "datagrams_replayed",
    "datagrams_contact_refused",
    "datagrams_cluster_full",
    "challenges_sent",
    "challenges_passed",
    "challenges_failed",
    "challenges_answered",
    "challenges_refused",
    "probes_sent",
    "probes_answered",
    "probes_unanswered",
    "probes_failed",
    "probes_withheld",
    "probe_answers_late",
    "probe_answers_refused",
    "probed_answered",
    "probed_failed",
    "probed_from_stranger",
    "probed_malformed",
    "probed_of_other_version",
    "probed_unsigned",
    "probed_of_unknown_key",
    "probed_forged",
    "decisions",
    "decisions_dry_run",
    "served_here_idle",
    "served_here_by_choice",
    "served_here_no_candidate",
    "served_here_limit_reached",
    "served_here_after_failure",
    "redirected",
    "forwarded",
    "forward_connect_failed",
    "forward_stale_connection",
    "forward_reset",
    "forward_timed_out",
    "forward_bad_response",
    "forward_truncated",
    "forward_declined",
    "forward_answered_502",
    "forward_tried_again",
    "forward_budget_spent",
    "forward_upgraded",
    "worker_kept",
    "connections_from_cache",
    "connections_from_pool",
    "connections_opened",
    "connections_opened_ahead",
    "connections_given_back",
    "connections_refused_by_pool",
    "proxied_accepted",
    "proxied_declined",
    "proxied_busy",
    "proxied_header_removed",
    "proxied_unsigned",
    "proxied_replayed",
    "plugin_answer_corrected",
    "plugin_replaced",
    "plugin_refused",
};

class Counters {
public:
    void add(Counter counter) {
        values_[static_cast<std::size_t>(counter)].fetch_add(1, std::memory_order_relaxed);
    }

    std::uint64_t get(Counter counter) const {
        return values_[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
    }

private:
    std::array<std::atomic<std::uint64_t>, counters_count> values_{};
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace backhand
