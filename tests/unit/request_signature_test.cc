// What is signed of a forwarded request, and that nothing else is believed.

#include "forward/request_signature.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace backhand {

namespace {

KeyRing ring_of(std::vector<std::string> secrets) {
    auto ring = KeyRing::from_secrets(std::move(secrets));
    EXPECT_TRUE(ring);
    return std::move(*ring);
}

class ASignature : public testing::Test {
protected:
    std::optional<ExchangeOrigin> verified(const SignedRequest& what) const {
        return verify_request(what, value, keys);
    }

    const std::string secret = "a secret that is long enough to be one";
    const std::string other_secret = "another secret that is long enough, too";
    KeyRing keys = ring_of({secret});
    SignedRequest request{
        .method = "GET",
        .target = "/a?b",
        .host = "www.example.com",
        .proxied = "192.0.2.7",
        .exchange = "client-port=1;local-port=80;site=17;scheme=http;version=1.1",
        .destination = *Endpoint::parse("10.0.0.2:80"),
    };
    const ExchangeOrigin origin{
        .boot_id = 17, .number = 42, .heard_boot_id = 18, .heard_measurement = 99};
    std::string value = sign_request(request, origin, keys);
};

TEST_F(ASignature, SaysWhereTheRequestComesFrom) {
    EXPECT_EQ(verified(request), origin);
}

TEST_F(ASignature, IsWrittenAsTheDocumentSays) {
    const std::string start =
        "key=" + std::to_string(keys.signing_id()) + ";from=17;number=42;boot=18;measurement=99";

    EXPECT_EQ(value.substr(0, start.size()), start);
    EXPECT_EQ(value.substr(start.size(), 5), ";tag=");
    EXPECT_EQ(value.size(), start.size() + 5 + 2 * tag_bytes);
}

TEST_F(ASignature, IsGoodForNoOtherRequest) {
    const auto changed = [this](auto SignedRequest::*part, auto other) {
        SignedRequest copy = request;
        copy.*part = other;
        return verified(copy);
    };
    EXPECT_FALSE(changed(&SignedRequest::method, "POST"));
    EXPECT_FALSE(changed(&SignedRequest::target, "/a?c"));
    EXPECT_FALSE(changed(&SignedRequest::host, "www.example.org"));
    EXPECT_FALSE(changed(&SignedRequest::proxied, "192.0.2.8"));
    EXPECT_FALSE(changed(&SignedRequest::exchange, ""));
    EXPECT_FALSE(changed(&SignedRequest::destination, *Endpoint::parse("10.0.0.3:80")));
    EXPECT_FALSE(changed(&SignedRequest::destination, *Endpoint::parse("10.0.0.2:81")));
}

TEST_F(ASignature, CannotBeChangedAnywhere) {
    for (std::size_t index = 0; index < value.size(); ++index) {
        std::string changed = value;
        changed[index] = changed[index] == '1' ? '2' : '1';
        EXPECT_FALSE(verify_request(request, changed, keys)) << changed;
    }
}

TEST_F(ASignature, CannotBeCutShortOrContinued) {
    for (std::size_t size = 0; size < value.size(); ++size) {
        EXPECT_FALSE(verify_request(request, value.substr(0, size), keys)) << size;
    }
    EXPECT_FALSE(verify_request(request, value + "0", keys));
    EXPECT_FALSE(verify_request(request, value + ";more=1", keys));
    EXPECT_FALSE(verify_request(request, "more=1;" + value, keys));
}

TEST_F(ASignature, OfAnotherKeyIsNone) {
    EXPECT_FALSE(verify_request(request, value, ring_of({other_secret})));
}

TEST_F(ASignature, OfAnyHeldKeyIsGood) {
    EXPECT_TRUE(verify_request(request, value, ring_of({other_secret, secret})));
}

}  // namespace

}  // namespace backhand
