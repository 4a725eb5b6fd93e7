#include "decide/plugin_code.h"

#include <dlfcn.h>

#include "decide/plugin_kinds.h"

namespace backhand {

namespace {

constexpr const char* native_symbol = "backhand_this_plugin";

// More plug-ins than one file has: a list that comes back to its beginning has no end.
constexpr int plugins_per_file_max = 256;

Error refusal(const PluginSource& source, const std::string& what) {
    return {Error::Kind::refused, source.file + " " + what};
}

// The plug-in of this name among those of the file.
Result<const backhand_plugin*> find_native(const backhand_plugin& first,
                                           const PluginSource& source) {
    std::string names;
    const backhand_plugin* plugin = &first;
    for (int count = 0; plugin != nullptr && count < plugins_per_file_max; ++count) {
        // The version first: of what another one has, nothing else is known.
        if (plugin->abi != BACKHAND_PLUGIN_ABI) {
            return refusal(source, "is built for version " + std::to_string(plugin->abi) +
                                       " of the plug-in interface: expected version " +
                                       std::to_string(BACKHAND_PLUGIN_ABI));
        }
        if (plugin->size < sizeof(backhand_plugin) || plugin->name == nullptr) {
            return refusal(source, "has a plug-in without a name, or of less than " +
                                       std::to_string(sizeof(backhand_plugin)) + " bytes");
        }
        // Without a name, for tools: the first.
        if (source.function.empty() || source.function == plugin->name) {
            return plugin;
        }
        names += (names.empty() ? "\"" : ", \"") + std::string{plugin->name} + "\"";
        plugin = plugin->next;
    }
    return refusal(source, "has no plug-in \"" + source.function + "\": expected " + names);
}

Result<std::unique_ptr<const PluginCode>> open_object(const char* path,
                                                      const PluginSource& source) {
    // NOW: a function that is missing is found out before a request needs it.
    void* const object = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == nullptr) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): glibc keeps the message per thread.
        const char* const why = ::dlerror();
        return Error{Error::Kind::refused, source.file + " cannot be loaded: " +
                                               std::string{why == nullptr ? "unknown" : why}};
    }
    if (const void* const symbol = ::dlsym(object, native_symbol)) {
        const auto plugin = find_native(*static_cast<const backhand_plugin*>(symbol), source);
        if (!plugin) {
            return plugin.error();
        }
        return make_native_plugin(**plugin, source);
    }
    // POSIX lets dlsym's answer be read as a function; so must we.
    const auto function = reinterpret_cast<SeedFunction>(::dlsym(object, source.function.c_str()));
    if (function == nullptr) {
        return refusal(source, "has no function \"" + source.function + "\"");
    }
    return make_seed_plugin(function, static_cast<SeedStatistics**>(::dlsym(object, "serverstats")),
                            source);
}

void add_words(std::string& text, std::uint32_t count, const std::string& words) {
    if (count != 0) {
        text += ", " + std::to_string(count) + " " + words;
    }
}

}  // namespace

std::string PluginSource::text() const {
    return function + (argument.empty() ? "" : " " + argument) + " (" + file + ")";
}

std::string AnswerFaults::text() const {
    if (threw) {
        return "threw an exception instead of answering";
    }
    std::string result =
        "answered with " + std::to_string(count) + " candidates, of " + std::to_string(asked);
    add_words(result, impossible, "impossible");
    add_words(result, repeated, "repeated");
    add_words(result, not_a_number, "with a score that is not a number");
    if (counts_differ) {
        result += ", and returned another number";
    }
    if (wrote_beyond) {
        result += ", and wrote beyond its array";
    }
    return result;
}

// The dynamic linker takes two files of one name for the same, so each needs a name of its own.
// The descriptor's is one as long as the descriptor is open: it is never closed.
Result<std::unique_ptr<const PluginCode>> open_plugin(UniqueFd file, const PluginSource& source) {
    const std::string path = "/proc/self/fd/" + std::to_string(file.get());
    auto opened = open_object(path.c_str(), source);
    static_cast<void>(file.release());
    return opened;
}

Result<std::unique_ptr<const PluginCode>> open_plugin_by_path(const PluginSource& source) {
    return open_object(source.file.c_str(), source);
}

void take_order(std::span<const int> order, CandidacySet& set, PluginScratch& scratch,
                AnswerFaults& faults) {
    const std::size_t servers_count = set.servers().size();
    scratch.taken.assign(servers_count, 0);
    scratch.members.clear();
    for (const int index : order) {
        const auto position = static_cast<std::size_t>(index);
        if (index < 0 || position >= servers_count) {
            ++faults.impossible;
        } else if (scratch.taken[position] != 0) {
            ++faults.repeated;
        } else {
            scratch.taken[position] = 1;
            scratch.members.push_back(static_cast<std::uint32_t>(position));
        }
    }
    set.assign(scratch.members);
}

}  // namespace backhand
