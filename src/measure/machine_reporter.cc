#include "measure/machine_reporter.h"

#include <optional>
#include <system_error>

#include <sys/resource.h>
#include <unistd.h>

#include "measure/arriba.h"

namespace backhand {

MachineReporter::MachineReporter(const std::string& state_directory, const Log& log) {
    const bool kept = !state_directory.empty();
    const std::string path = state_directory + "/arriba";
    const std::string model = cpu_model_name();
    if (const auto known = kept ? load_arriba(path, model) : std::nullopt) {
        arriba_ = *known;
        return;
    }
    const auto measure_and_keep = [this, kept, path, model, log] {
        ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
        arriba_ = measure_arriba();
        const Status saved = kept ? save_arriba(path, model, arriba_) : Status{Done{}};
        if (!saved) {
            log(LogLevel::notice, "cannot keep the measured speed: " + saved.error().detail);
        }
    };
    try {
        arriba_thread_ = std::jthread{measure_and_keep};
    } catch (const std::system_error& failure) {
        log(LogLevel::notice, std::string{"the speed is not measured: "} + failure.what());
    }
}

void MachineReporter::report(MonotonicTime now, LoadReport& load) {
    const MachineSample machine = meter_.sample(now);
    load.arriba = arriba_;
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
