// Guarded: the one place where exceptions stop.
//
// httpd is C.  Every function it can call - hooks, directives, filters, cleanups, providers - is
// handed to it as Guarded<&function>::call, which turns an exception (out of memory, in practice)
// into that function's way of saying that it failed.
#pragma once

#include <exception>

#include "httpd/apache.h"

namespace backhand::httpd {

// Logs to the main error log; never throws.
void log_unexpected(const char* what) noexcept;

template <class Function>
auto guard(Function function, decltype(function()) on_failure) noexcept {
    try {
        return function();
    } catch (const std::exception& failure) {
        log_unexpected(failure.what());
    } catch (...) {
        log_unexpected("unknown exception");
    }
    return on_failure;
}

template <class Function>
void guard(Function function) noexcept {
    guard(
        [&] {
            function();
            return true;
        },
        false);
}

template <auto Function>
struct Guarded;

// Hooks that return a status.
template <class... Args, int (*Hook)(Args...)>
struct Guarded<Hook> {
    static int call(Args... args) noexcept {
        return guard([&] { return Hook(args...); }, HTTP_INTERNAL_SERVER_ERROR);
    }
};

template <class... Args, void (*Hook)(Args...)>
struct Guarded<Hook> {
    static void call(Args... args) noexcept {
        guard([&] { Hook(args...); });
    }
};

// Directives: nullptr, or what is wrong.
template <class... Args, const char* (*Function)(Args...)>
struct Guarded<Function> {
    static const char* call(Args... args) noexcept {
        return guard([&] { return Function(args...); }, "out of memory");
    }
};

// Configuration records.
template <class... Args, void* (*Function)(Args...)>
struct Guarded<Function> {
    static void* call(Args... args) noexcept {
        return guard([&] { return Function(args...); }, nullptr);
    }
};

}  // namespace backhand::httpd
