// MachineReporter: the part of a server's report that its machine decides.
//
// MachineMeter's numbers, and the machine's speed, which is measured once and then kept in a file.
// Belongs to one thread.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/server_report.h"
#include "measure/arriba.h"
#include "measure/machine.h"

namespace backhand {

class MachineReporter {
public:
    // Where the speed is kept, see OwnArriba.
    MachineReporter(const std::string& state_directory, const Log& log)
        : arriba_(state_directory, log) {}

    // Sets what this is about in `load`, and nothing else.
    void report(MonotonicTime now, LoadReport& load);

private:
    MachineMeter meter_;
    OwnArriba arriba_;
};

}  // namespace backhand
