// Result<T>: a value, or the reason why there is none.
//
// Errors are values here: httpd is C and must never see an exception, and a caller that can do
// something about a failure reads `kind` rather than text.  `detail` is for the operator and names
// the thing that was wrong.  (std::expected is C++23.)
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace backhand {

struct Error {
    // What the caller may do about it.
    enum class Kind {
        malformed,    // the input is wrong: tell whoever wrote it
        refused,      // the input is well formed, and not allowed
        unavailable,  // the other side is not there: try another
        broken,       // the other side answered, and the answer cannot be used
        timed_out,
        system,  // the operating system said no
    };

    Kind kind{};
    std::string detail;
};

template <class T>
class [[nodiscard]] Result {
public:
    // Implicit on purpose: `return value;` and `return Error{...};` read best.
    // NOLINTNEXTLINE(google-explicit-constructor)
    Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}

    // NOLINTNEXTLINE(google-explicit-constructor)
    Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const { return content_.index() == 0; }

    // REQUIRES: *this holds a value.
    T& operator*() { return *std::get_if<0>(&content_); }

    const T& operator*() const { return *std::get_if<0>(&content_); }

    T* operator->() { return std::get_if<0>(&content_); }

    const T* operator->() const { return std::get_if<0>(&content_); }

    // REQUIRES: *this holds an error.
    const Error& error() const { return *std::get_if<1>(&content_); }

private:
    std::variant<T, Error> content_;
};

struct Done {};

// The result of something that has no value to return but can fail.
using Status = Result<Done>;

}  // namespace backhand
