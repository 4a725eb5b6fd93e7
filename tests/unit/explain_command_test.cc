// How `backhand explain` puts its question, and what of the answer reaches the terminal.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/explain.h"

namespace backhand {
namespace {

using ::testing::HasSubstr;

std::string asked(const ExplainOptions& options) {
    const auto url = explain_url(options);
    return url ? *url : url.error().detail;
}

TEST(AnExplanation, IsAskedOfTheReportPageOfTheServerItself) {
    EXPECT_EQ(asked({.url = "http://web1:8080/app?x=1&y=2#top"}),
              "http://web1:8080/backhand/?explain=http://web1:8080/app%3Fx%3D1%26y%3D2");
}

TEST(AnExplanation, CanBeAskedElsewhere) {
    EXPECT_EQ(asked({.url = "http://www.example.com/", .report = "web1/status?format=json"}),
              "http://web1/status?explain=http://www.example.com/");
}

TEST(AnExplanation, TellsTheMethodAndTheFieldsOfTheRequest) {
    EXPECT_EQ(asked({.url = "https://web1/",
                     .method = "POST",
                     .headers = {"Cookie: a=b; c", "X: y"},
                     .as_json = true}),
              "https://web1/backhand/?explain=https://web1/&method=POST"
              "&header=Cookie:%20a%3Db%3B%20c&header=X:%20y&format=json");
}

TEST(AnExplanation, IsOfAnHttpUrl) {
    for (const char* url : {"", "web1/app", "ftp://web1/", "http://", "http:///app"}) {
        EXPECT_THAT(asked({.url = url}), HasSubstr("expected an http or https URL")) << url;
    }
}

TEST(AnExplanation, RefusesWhatIsNoField) {
    for (const char* line : {"", "Cookie", ": a", "A b: c", "A: b\r\nC: d"}) {
        EXPECT_THAT(asked({.url = "http://web1/", .headers = {line}}),
                    HasSubstr("expected a field of the request"))
            << line;
    }
}

TEST(TheAnswer, IsShownWithoutWhatATerminalWouldObey) {
    EXPECT_EQ(explain_answer("Chain: \x1b[2Jauto\r\n\xC3\xA9\n"), "Chain: ?[2Jauto?\n??\n");
}

}  // namespace
}  // namespace backhand
