// Threads and the floating-point environment. Linked with -Wl,--wrap for pthread_create and
// pthread_join, so that the tests can count threads and make their creation fail.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "tests/runtime_network.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace {
std::atomic<int> created{0}, joined{0}, creations_left{1000000};
std::atomic<size_t> stack_size{0};  // that the last thread created asked for; 0: the default

size_t default_stack_size() {
  pthread_attr_t attributes;
  size_t size = 0;
  pthread_attr_init(&attributes);
  pthread_attr_getstacksize(&attributes, &size);
  pthread_attr_destroy(&attributes);
  return size;
}
}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
extern "C" {
int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*main)(void*),
                          void* argument);
int __real_pthread_join(pthread_t thread, void** result);

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*main)(void*),
                          void* argument) {
  if (--creations_left < 0) return EAGAIN;
  ++created;
  size_t size = 0;
  if (attributes) pthread_attr_getstacksize(attributes, &size);
  stack_size = size;
  return __real_pthread_create(thread, attributes, main, argument);
}
int __wrap_pthread_join(pthread_t thread, void** result) {
  ++joined;
  return __real_pthread_join(thread, result);
}
}
// NOLINTEND(bugprone-reserved-identifier)

namespace mattec::test {
namespace {

TEST(Threads, EveryCountAndSplitGivesTheSameMatte) {
  for (int threads : {0, 1, 2, 4, 7}) {
    for (int rows_per_task : {1, 2, 5, 30, 31, 64}) {
      HandMadeNetwork network(37, 31, rows_per_task);
      const mattec_options options = {threads, nullptr, nullptr};
      expect_matches_plain(network, &options, 4);
    }
  }
}

// Many short regions: lost wake-ups hang, tasks run twice or not at all show in the matte.
TEST(Threads, ThousandsOfRegions) {
  HandMadeNetwork network(9, 16, 1);
  const mattec_options options = {4, nullptr, nullptr};
  expect_matches_plain(network, &options, 1000);
}

// Workers and caller fall asleep between frames and must wake.
TEST(Threads, PausesBetweenFrames) {
  HandMadeNetwork network(9, 16, 1);
  const mattec_options options = {3, nullptr, nullptr};
  std::vector<uint8_t> picture = noise_picture(9, 16, 1), alpha;
  PlainNetwork plain(9, 16);
  plain.step(picture);
  for (int i = 0; i < 5; ++i) {
    mattec_session* session = nullptr;
    ASSERT_EQ(mattec_init(network.model(), network.arena,
                          static_cast<size_t>(network.plan.arena_bytes), &options, &session),
              MATTEC_OK);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const mattec_image frame = rgb_image(picture, 9, 16);
    const mattec_outputs outputs = {gray_image(alpha, 9, 16), {}};
    ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
    EXPECT_EQ(alpha, plain.alpha);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    mattec_close(session);
  }
}

TEST(Threads, EveryThreadIsJoinedOnce) {
  HandMadeNetwork network(8, 8, 1);
  for (const auto& [threads, workers] : {std::pair(1, 0), {2, 1}, {64, 63}}) {
    const mattec_options options = {threads, nullptr, nullptr};
    created = joined = 0;
    mattec_session* session = nullptr;
    ASSERT_EQ(mattec_init(network.model(), network.arena,
                          static_cast<size_t>(network.plan.arena_bytes), &options, &session),
              MATTEC_OK);
    EXPECT_EQ(created, workers);
    EXPECT_EQ(joined, 0);
    mattec_close(session);
    mattec_close(session);
    EXPECT_EQ(joined, workers);
  }
}

void on_one_thread(void*, int32_t count, mattec_task task, void* context) {
  for (int32_t i = 0; i < count; ++i) task(context, i);
}

TEST(Threads, MoreThan64AreRefusedUnlessTheyAreTheCallers) {
  HandMadeNetwork network(8, 8, 1);
  const auto init = [&network](const mattec_options& options, mattec_session** session) {
    return mattec_init(network.model(), network.arena,
                       static_cast<size_t>(network.plan.arena_bytes), &options, session);
  };
  created = 0;
  mattec_session* session = nullptr;
  for (const int threads : {65, 1000, 2147483647}) {
    EXPECT_EQ(init({threads, nullptr, nullptr}, &session), MATTEC_ERROR_THREADS) << threads;
    EXPECT_EQ(session, nullptr);
  }
  EXPECT_EQ(network.arena[0], 0xCD);  // left alone
  EXPECT_EQ(init({65, on_one_thread, nullptr}, &session), MATTEC_OK);
  EXPECT_EQ(created, 0);
  mattec_close(session);
}

TEST(Threads, GetTheLibrarysStackBeyondTheDefault) {
  HandMadeNetwork network(8, 8, 1);
  network.plan.stack_bytes = 300001;
  const mattec_options options = {2, nullptr, nullptr};
  mattec_session* session = nullptr;
  ASSERT_EQ(mattec_init(network.model(), network.arena,
                        static_cast<size_t>(network.plan.arena_bytes), &options, &session),
            MATTEC_OK);
  mattec_close(session);
  EXPECT_GE(stack_size, default_stack_size() + 300001);
  EXPECT_LE(stack_size, default_stack_size() + 300001 + 65536);
}

// What a kernel with a large frame does.
constexpr size_t frame_bytes = 400000;
std::atomic<int> deep_tasks{0};
int deep_kernel(void**) {
  volatile char frame[frame_bytes];
  for (size_t i = 0; i < frame_bytes; i += 1024) frame[i] = 1;
  deep_tasks += frame[0];
  return 0;
}

void* step_with_deep_kernels(void*) {
  HandMadeNetwork network(8, 8, 1);
  mattec_step_record step = {};
  step.kernel = deep_kernel;
  step.wanted = MATTEC_FOR_STATES;
  step.rows = 200;
  step.rows_per_task = 1;
  network.plan.steps = &step;
  network.plan.step_count = 1;
  network.plan.stack_bytes = frame_bytes + 8192;
  const mattec_options options = {4, nullptr, nullptr};
  mattec_session* session = nullptr;
  if (mattec_init(network.model(), network.arena, static_cast<size_t>(network.plan.arena_bytes),
                  &options, &session) != MATTEC_OK)
    return nullptr;
  std::vector<uint8_t> picture = noise_picture(8, 8, 1);
  const mattec_image frame = rgb_image(picture, 8, 8);
  const mattec_outputs outputs = {};
  for (int i = 0; i < 20; ++i) mattec_step(session, &frame, nullptr, &outputs);
  mattec_close(session);
  return nullptr;
}

// The C library reads the limit when a program starts: this one starts itself once more.
TEST(Threads, RunDeepKernelsWhereTheDefaultStackIsSmall) {
  if (std::getenv("MATTEC_SMALL_STACK") != nullptr) {
#ifndef __SANITIZE_THREAD__  // which enlarges every stack
    ASSERT_LE(default_stack_size(), size_t{256} * 1024);
#endif
    // The caller's own stack is the caller's business.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size_t{1} << 21);
    pthread_t caller_thread;
    ASSERT_EQ(__real_pthread_create(&caller_thread, &attributes, step_with_deep_kernels, nullptr),
              0);
    __real_pthread_join(caller_thread, nullptr);
    EXPECT_EQ(deep_tasks, 20 * 200);
    return;
  }
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {size_t{256} * 1024, size_t{256} * 1024};
    setrlimit(RLIMIT_STACK, &limit);
    setenv("MATTEC_SMALL_STACK", "1", 1);
    execl("/proc/self/exe", "test", "--gtest_filter=Threads.RunDeepKernels*", nullptr);
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_FALSE(WIFSIGNALED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Threads, AFailingPoolLeavesNothingBehind) {
  HandMadeNetwork network(8, 8, 1);
  const mattec_options options = {5, nullptr, nullptr};
  for (int possible = 0; possible < 4; ++possible) {
    created = joined = 0;
    creations_left = possible;
    auto* session = reinterpret_cast<mattec_session*>(network.arena);
    EXPECT_EQ(mattec_init(network.model(), network.arena,
                          static_cast<size_t>(network.plan.arena_bytes), &options, &session),
              MATTEC_ERROR_THREADS);
    EXPECT_EQ(session, nullptr);
    EXPECT_EQ(created, possible);
    EXPECT_EQ(joined, possible);
  }
  creations_left = 1000000;
}

// Kernels for one step of two tasks and one that follows it.
std::atomic<int> begun{0}, done{0}, done_before_next{0};
std::thread::id caller;

// Both tasks at once, or this takes ten seconds; the caller's is done first.
int meet_kernel(void**) {
  ++begun;
  for (int i = 0; i < 10000 && begun < 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (std::this_thread::get_id() != caller)
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  ++done;
  return 0;
}
int next_kernel(void**) {
  done_before_next = done.load();
  return 0;
}

TEST(Threads, SleepersAreWokenAndTheSlowestIsAwaited) {
  HandMadeNetwork network(8, 8, 1);
  mattec_step_record steps[2] = {};
  steps[0].kernel = meet_kernel;
  steps[1].kernel = next_kernel;
  steps[0].wanted = steps[1].wanted = MATTEC_FOR_STATES;
  steps[0].rows = 2;
  steps[1].rows = steps[0].rows_per_task = steps[1].rows_per_task = 1;
  network.plan.steps = steps;
  network.plan.step_count = 2;
  const mattec_options options = {2, nullptr, nullptr};
  mattec_session* session = nullptr;
  ASSERT_EQ(mattec_init(network.model(), network.arena,
                        static_cast<size_t>(network.plan.arena_bytes), &options, &session),
            MATTEC_OK);
  std::vector<uint8_t> picture = noise_picture(8, 8, 1);
  const mattec_image frame = rgb_image(picture, 8, 8);
  const mattec_outputs outputs = {};
  caller = std::this_thread::get_id();
  for (int i = 0; i < 3; ++i) {
    begun = done = done_before_next = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(9));
    EXPECT_EQ(done_before_next, 2);
  }
  mattec_close(session);
}

// Last task first, each on a thread of its own.
void backwards_on_threads(void* user, int32_t count, mattec_task task, void* context) {
  *static_cast<int*>(user) += 1;
  std::vector<std::thread> threads;
  for (int32_t i = count - 1; i >= 0; --i) threads.emplace_back(task, context, i);
  for (std::thread& thread : threads) thread.join();
}

TEST(Threads, CallersParallelForReplacesThePool) {
  HandMadeNetwork network(37, 31, 5);
  int calls = 0;
  const mattec_options options = {4, backwards_on_threads, &calls};
  expect_matches_plain(network, &options, 3);
  EXPECT_EQ(calls, 3 * 3);  // the steps; one strip of the frame and one of the outputs run inline

  created = 0;
  mattec_session* session = nullptr;
  ASSERT_EQ(mattec_init(network.model(), network.arena,
                        static_cast<size_t>(network.plan.arena_bytes), &options, &session),
            MATTEC_OK);
  mattec_close(session);
  EXPECT_EQ(created, 0);
}

TEST(Threads, SeveralStripsOfTheFrame) {
  HandMadeNetwork network(300, 120, 20);
  for (int threads : {1, 3}) {
    const mattec_options options = {threads, nullptr, nullptr};
    expect_matches_plain(network, &options, 2);
  }
}

#if defined(__x86_64__)
constexpr unsigned flush_to_zero = 0x8000, subnormals_are_zero = 0x0040, round_up = 0x4000;
constexpr unsigned hostile = 0x1F80 | flush_to_zero | subnormals_are_zero | round_up;

void hostile_threads(void*, int32_t count, mattec_task task, void* context) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    threads.emplace_back([=] {
      _mm_setcsr(hostile);
      task(context, i);
      EXPECT_EQ(_mm_getcsr(), hostile);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(FloatEnvironment, TheNetworkDependsOnIt) {
  std::vector<uint8_t> picture = noise_picture(20, 20, 3);
  PlainNetwork plain(20, 20);
  plain.step(picture);
  for (unsigned bit : {flush_to_zero, subnormals_are_zero, round_up}) {
    PlainNetwork other(20, 20);
    _mm_setcsr(0x1F80 | bit);
    other.step(picture);
    _mm_setcsr(0x1F80);
    EXPECT_NE(other.alpha, plain.alpha) << "bit " << bit;
  }
}

TEST(FloatEnvironment, CallersIsKeptAndWithoutInfluence) {
  const int width = 20, height = 20;
  HandMadeNetwork network(width, height, 3);
  const mattec_options all_options[] = {
      {1, nullptr, nullptr}, {3, nullptr, nullptr}, {2, hostile_threads, nullptr}};
  for (const mattec_options& options : all_options) {
    mattec_session* session = nullptr;
    _mm_setcsr(hostile);  // the pool's threads inherit it
    const mattec_status status =
        mattec_init(network.model(), network.arena, static_cast<size_t>(network.plan.arena_bytes),
                    &options, &session);
    _mm_setcsr(0x1F80);
    ASSERT_EQ(status, MATTEC_OK);
    PlainNetwork plain(width, height);
    for (uint32_t i = 0; i < 3; ++i) {
      std::vector<uint8_t> picture = noise_picture(width, height, i), alpha;
      plain.step(picture);
      const mattec_image frame = rgb_image(picture, width, height);
      const mattec_outputs outputs = {gray_image(alpha, width, height), {}};
      _mm_setcsr(hostile);
      const mattec_status step_status = mattec_step(session, &frame, nullptr, &outputs);
      const unsigned after = _mm_getcsr();
      _mm_setcsr(0x1F80);
      ASSERT_EQ(step_status, MATTEC_OK);
      EXPECT_EQ(after, hostile);
      EXPECT_EQ(alpha, plain.alpha);
    }
    mattec_close(session);
  }
}
#endif

}  // namespace
}  // namespace mattec::test
