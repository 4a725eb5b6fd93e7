// MachineReporter: the part of a server's report that its machine decides.
//
// MachineMeter's numbers, and the machine's speed, which is measured once and then kept in a file.
// Belongs to one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/server_report.h"
#include "measure/machine.h"

namespace backhand {

class MachineReporter {
public:
    // The speed comes from the file `arriba` in `state_directory`.  If it is not there, it is
    // measured in a thread of lowest priority (0.1 s of CPU time), for which only the destructor
    // waits, and written there; until then it is reported as 0.  Nothing is read or kept if
    // `state_directory` is empty.
    MachineReporter(const std::string& state_directory, const Log& log);
    MachineReporter(const MachineReporter&) = delete;
    MachineReporter& operator=(const MachineReporter&) = delete;
    ~MachineReporter() = default;

    // Sets what this is about in `load`, and nothing else.
    void report(MonotonicTime now, LoadReport& load);

private:
    MachineMeter meter_;
    std::atomic<std::uint32_t> arriba_{0};
    std::jthread arriba_thread_;
};

}  // namespace backhand
