// What candidacy functions may ask about a request, answered from httpd's request_rec.
#pragma once

#include "decide/candidacy.h"
#include "httpd/apache.h"

namespace backhand::httpd {

// Header fields are those that httpd would show a handler here: RequestHeader lines have changed
// them already.
class HttpdFacts final : public RequestFacts {
public:
    HttpdFacts(request_rec* r, const LocationTimes& locations) : r_(r), locations_(locations) {}

    std::optional<std::string_view> header(const char* name, std::size_t nth) const override;
    std::optional<std::string_view> environment(const char* name) const override;
    IpAddress client() const override;
    bool is_tls() const override;
    std::string_view virtual_host() const override;
    std::optional<Nanoseconds> location_time() const override;

private:
    request_rec* const r_;
    const LocationTimes& locations_;
};

// Under which key it is learnt what requests like this one take.
std::uint64_t location_key_of(const request_rec* r);

}  // namespace backhand::httpd
