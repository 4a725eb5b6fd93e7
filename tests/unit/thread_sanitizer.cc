// What ThreadSanitizer is told about the code under test.

// It knows pthread_mutex_lock(), but not pthread_mutex_clocklock() (clang 14 and g++ 12 neither),
// by which a moderator becomes the writer: it takes every unlocking that follows for a mistake, and
// reports nothing else.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer asks for this name.
extern "C" const char* __tsan_default_suppressions() {
    return "mutex:backhand::ClusterTable::stop_writing\n";
}
