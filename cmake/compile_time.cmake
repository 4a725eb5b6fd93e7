# What makes a build shorter, and changes nothing of what is built.

# ccache, where it is installed.  It must be told that precompiled headers may be reused.
find_program(CCACHE ccache)
if(CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

# backhand_precompile(target [header...]): the standard headers that nearly every file reads, and
# the ones named, are parsed once for the target.  Each file still includes what it needs: the tsan
# preset precompiles nothing, and would tell.
function(backhand_precompile target)
    target_precompile_headers(${target} PRIVATE
        <algorithm> <array> <atomic> <chrono> <cmath> <cstdint> <cstring> <filesystem> <fstream>
        <functional> <limits> <memory> <optional> <random> <span> <string> <string_view> <thread>
        <utility> <vector> ${ARGN})
    # g++ 12 forgets that what it precompiled were system headers, and warns of its own guesses there.
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overread>)
endfunction()
