// Files of plug-ins are tried before anyone depends on them, and replaced while servers run.
#include "decide/plugin_trial.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/trusted_file.h"
#include "moderator/plugin_watch.h"
#include "plugin_of_tests.h"
#include "temporary_folder.h"

namespace backhand {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// In the build folder: code must not lie under a sticky directory, such as /tmp.
class FilesOfPlugins : public ::testing::Test {
protected:
    FilesOfPlugins() { ::chmod(folder_.c_str(), 0755); }

    void SetUp() override {
        if (!open_code_file(native_file, ::geteuid())) {
            GTEST_SKIP() << "the build folder is not one in which plug-ins may lie";
        }
    }

    // A file beside the place, then renamed to it, as an administrator should.
    std::string install(const std::string& from, const std::string& name = "plugin.so",
                        mode_t mode = 0644) const {
        const std::string path = folder_ + "/" + name;
        std::filesystem::copy_file(from, path + ".new");
        ::chmod((path + ".new").c_str(), mode);
        std::filesystem::rename(path + ".new", path);
        return path;
    }

    const TemporaryFolder temporary_{PLUGINS_OF_TESTS "/folder-XXXXXX"};
    const std::string& folder_ = temporary_.path();
};

// ---- one trial ----

class ATrial : public FilesOfPlugins {
protected:
    PluginTrial::Verdict verdict_on(const std::string& file, const std::string& function,
                                    const std::string& argument = "",
                                    std::function<bool()> prepare = nullptr) {
        auto trial = PluginTrial::start({.file = file,
                                         .owner = ::geteuid(),
                                         .lines = {line(file, function, argument)},
                                         .box = &box_,
                                         .number = 1,
                                         .prepare = std::move(prepare),
                                         .cpu_limit = cpu_limit_,
                                         .limit = limit_});
        return trial->wait();
    }

    std::chrono::seconds cpu_limit_{30};
    Nanoseconds limit_ = std::chrono::seconds{60};
    DescriptorBox box_ = std::move(*DescriptorBox::make());
};

TEST_F(ATrial, PutsAGoodFileIntoTheBox) {
    const auto verdict = verdict_on(install(native_file), "score", "1");

    EXPECT_EQ(verdict.trouble, "");
    ASSERT_TRUE(verdict.identity);
    ASSERT_TRUE(box_.look());

    struct stat entry {};

    ::fstat(box_.look()->file.get(), &entry);
    EXPECT_TRUE(verdict.identity->same_content(FileIdentity::of(entry)));
}

TEST_F(ATrial, KnowsTheOriginalsInterface) {
    EXPECT_EQ(verdict_on(install(seed_file), "byMyLoad").trouble, "");
}

TEST_F(ATrial, SurvivesAPluginThatCrashes) {
    const std::string file = install(native_file);

    EXPECT_THAT(verdict_on(file, "crash").trouble,
                AllOf(HasSubstr(file), HasSubstr("crashes (signal 6)"), HasSubstr("1000 servers")));
    EXPECT_FALSE(box_.look());
}

TEST_F(ATrial, DoesNotWaitForEver) {
    limit_ = std::chrono::milliseconds{100};

    EXPECT_THAT(verdict_on(install(native_file), "hang").trouble, HasSubstr("takes too long"));
}

TEST_F(ATrial, GivesAPluginSoMuchCpuAndNoMore) {
    cpu_limit_ = std::chrono::seconds{1};

    EXPECT_THAT(verdict_on(install(native_file), "hang").trouble, HasSubstr("takes too long"));
}

TEST_F(ATrial, NoticesAPluginThatEndsTheProcess) {
    EXPECT_THAT(verdict_on(install(native_file), "leave").trouble,
                HasSubstr("ends the process that loads it"));
}

TEST_F(ATrial, RefusesAnotherVersion) {
    EXPECT_THAT(verdict_on(install(later_file), "later").trouble, HasSubstr("version 2"));
}

TEST_F(ATrial, SaysWhatIsWrongWithAnArgument) {
    EXPECT_THAT(verdict_on(install(native_file), "score", "bad").trouble,
                HasSubstr("expected a margin"));
}

TEST_F(ATrial, DoesNotMindNonsense) {
    EXPECT_EQ(verdict_on(install(native_file), "impossible").trouble, "");
}

TEST_F(ATrial, RefusesAFileThatOthersCanWrite) {
    EXPECT_THAT(verdict_on(install(native_file, "open.so", 0666), "reverse").trouble,
                AllOf(HasSubstr("can be changed by others"), HasSubstr("belong to root")));
}

TEST_F(ATrial, RefusesAFileInAFolderThatOthersCanWrite) {
    ::chmod(folder_.c_str(), 01777);

    EXPECT_THAT(verdict_on(install(native_file), "reverse").trouble,
                HasSubstr(folder_ + " can be changed by others"));
}

TEST_F(ATrial, JudgesALinkAndWhereItLeads) {
    install(native_file, "open.so", 0666);
    std::filesystem::create_symlink("open.so", folder_ + "/link.so");
    EXPECT_THAT(verdict_on(folder_ + "/link.so", "reverse").trouble,
                HasSubstr("open.so can be changed by others"));

    ::chmod((folder_ + "/open.so").c_str(), 0644);
    EXPECT_EQ(verdict_on(folder_ + "/link.so", "reverse").trouble, "");
}

TEST_F(ATrial, NamesTheLineThatIsWrong) {
    const std::string file = install(native_file);
    auto trial = PluginTrial::start({.file = file,
                                     .owner = ::geteuid(),
                                     .lines = {line(file, "reverse"), line(file, "score", "bad")}});

    EXPECT_EQ(trial->wait().line, 1U);
}

TEST_F(ATrial, GoesNoFurtherIfItCannotBePrepared) {
    EXPECT_THAT(verdict_on(install(native_file), "reverse", "", [] { return false; }).trouble,
                HasSubstr("cannot be tried"));
}

// ---- replacement ----

class AWatch : public FilesOfPlugins {
protected:
    void SetUp() override {
        FilesOfPlugins::SetUp();
        if (IsSkipped()) {
            return;
        }
        path_ = install(native_file);
        ASSERT_TRUE(box_.put(opened(path_), 1));
        board_.file(0).version = 1;
        watch_ = make_watch();
    }

    std::unique_ptr<PluginWatch> make_watch() {
        PluginWatchSettings settings;
        settings.files.push_back({.path = path_,
                                  .lines = {line(path_, function_)},
                                  .box = &box_,
                                  .marks = &board_.file(0)});
        settings.board = &board_;
        settings.owner = ::geteuid();
        settings.counters = &counters_;
        settings.log = [this](LogLevel, std::string_view text) { log_.emplace_back(text); };
        return std::make_unique<PluginWatch>(std::move(settings));
    }

    // Until `count` lines have been logged, and a little longer, to see that there are no more.
    void look_for_lines(std::size_t count) {
        const MonotonicTime deadline = monotonic_now() + 20'000'000'000;
        while (log_.size() < count && monotonic_now() < deadline) {
            watch_->look(monotonic_now());
            std::this_thread::sleep_for(std::chrono::milliseconds{2});
        }
        look_for(std::chrono::milliseconds{600});
    }

    void look_for(std::chrono::milliseconds duration) {
        const MonotonicTime end = monotonic_now() + nanoseconds_in(duration);
        while (monotonic_now() < end) {
            watch_->look(monotonic_now());
            std::this_thread::sleep_for(std::chrono::milliseconds{2});
        }
    }

    bool has_in_box(const std::string& path) const {
        struct stat in_box {};

        struct stat at_path {};

        const auto content = box_.look();
        return content && ::fstat(content->file.get(), &in_box) == 0 &&
               ::stat(path.c_str(), &at_path) == 0 && in_box.st_ino == at_path.st_ino;
    }

    std::string path_;
    std::string function_ = "reverse";
    DescriptorBox box_ = std::move(*DescriptorBox::make());
    PluginBoard board_ = std::move(*PluginBoard::make(1, 1));
    Counters counters_;
    std::vector<std::string> log_;
    std::unique_ptr<PluginWatch> watch_;
};

TEST_F(AWatch, SaysNothingWhileNothingChanges) {
    look_for(std::chrono::milliseconds{600});

    EXPECT_THAT(log_, IsEmpty());
    EXPECT_EQ(board_.changes(), 0U);
}

TEST_F(AWatch, PutsAGoodNewFileIntoTheBoxAndWakesEveryone) {
    install(native_file);

    look_for_lines(1);

    EXPECT_THAT(log_, ElementsAre(AllOf(HasSubstr("has been replaced"), HasSubstr("version 2"))));
    EXPECT_EQ(board_.changes(), 1U);
    EXPECT_EQ(board_.file(0).version, 2U);
    EXPECT_EQ(counters_.get(Counter::plugin_replaced), 1U);
    EXPECT_TRUE(has_in_box(path_));
}

// Two looks, a quarter of a second apart, and a trial that may use a second of CPU: less than the
// two seconds after which a new file is to be in use.  Whatever the machine has to do besides.
TEST_F(AWatch, TriesANewFileAtTheSecondLookAndTakesItWhenThatIsOver) {
    install(native_file);
    const MonotonicTime first_look = monotonic_now();
    const MonotonicTime second_look = first_look + nanoseconds_in(std::chrono::milliseconds{250});

    watch_->look(first_look);
    watch_->look(second_look);
    // From here on it looks at nothing but the trial.
    for (int wait = 0; log_.empty() && wait < 10'000; ++wait) {
        watch_->look(second_look);
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }

    EXPECT_THAT(log_, ElementsAre(HasSubstr("has been replaced")));
    EXPECT_EQ(board_.changes(), 1U);
}

TEST_F(AWatch, RefusesABadNewFileOnceAndKeepsTheOldOne) {
    install(later_file);

    look_for_lines(1);

    EXPECT_THAT(log_, ElementsAre(AllOf(HasSubstr("refused and the old one stays"),
                                        HasSubstr("version 2 of the plug-in interface"))));
    EXPECT_EQ(board_.changes(), 0U);
    EXPECT_EQ(board_.file(0).refused, 1U);
    EXPECT_EQ(counters_.get(Counter::plugin_refused), 1U);
    EXPECT_FALSE(has_in_box(path_));
    EXPECT_TRUE(box_.look());
}

TEST_F(AWatch, TakesAGoodFileAfterABadOne) {
    install(later_file);
    look_for_lines(1);

    install(native_file);
    look_for_lines(2);

    EXPECT_EQ(board_.file(0).version, 2U);
    EXPECT_TRUE(has_in_box(path_));
}

TEST_F(AWatch, RefusesAFileThatOthersCanWriteUntilTheyCannot) {
    install(native_file, "plugin.so", 0666);
    look_for_lines(1);
    EXPECT_THAT(log_, ElementsAre(HasSubstr("can be changed by others")));

    ::chmod(path_.c_str(), 0644);
    look_for_lines(2);

    EXPECT_EQ(board_.file(0).version, 2U);
}

TEST_F(AWatch, SaysThatAFileMustNotBeWrittenInto) {
    std::filesystem::copy_file(seed_file, path_, std::filesystem::copy_options::overwrite_existing);

    look_for_lines(1);

    EXPECT_THAT(log_, ElementsAre(HasSubstr("was written into while servers have it loaded")));
    EXPECT_EQ(board_.changes(), 0U);
}

TEST_F(AWatch, DoesNotMindAFileThatIsAwayForAMoment) {
    std::filesystem::remove(path_);
    look_for(std::chrono::milliseconds{600});
    EXPECT_THAT(log_, IsEmpty());

    install(native_file);
    look_for_lines(1);

    EXPECT_EQ(board_.file(0).version, 2U);
}

TEST_F(AWatch, OfAnotherModeratorGoesOnWhereTheLastOneStopped) {
    install(native_file);
    look_for_lines(1);

    watch_ = make_watch();
    look_for(std::chrono::milliseconds{600});
    EXPECT_EQ(log_.size(), 1U);

    install(native_file);
    look_for_lines(2);
    EXPECT_EQ(board_.file(0).version, 3U);
    EXPECT_TRUE(has_in_box(path_));
}

}  // namespace
}  // namespace backhand
