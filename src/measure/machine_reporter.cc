#include "measure/machine_reporter.h"

namespace backhand {

void MachineReporter::report(MonotonicTime now, LoadReport& load) {
    const MachineSample machine = meter_.sample(now);
    load.arriba = arriba_.value();
    load.load_permille = machine.load_permille;
    load.load_hwm = machine.load_hwm;
    load.cpu_idle_permille = machine.cpu_idle_permille;
    load.cpus_permille = machine.cpus_permille;
    load.pressure_cpu_permille = machine.pressure_cpu_permille;
    load.pressure_memory_permille = machine.pressure_memory_permille;
    load.pressure_io_permille = machine.pressure_io_permille;
    load.memory_total_bytes = machine.memory_total_bytes;
    load.memory_available_bytes = machine.memory_available_bytes;
}

}  // namespace backhand
