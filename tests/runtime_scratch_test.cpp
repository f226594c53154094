// Scratch: memory that is a task's own while its kernel runs, whoever runs the tasks.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/runtime_network.h"

namespace mattec::test {
namespace {

// Writes its row all over its scratch and finds it there after others had their turn.
std::atomic<int> scratch_tasks{0}, disturbed{0};
int scratch_kernel(void** arguments) {
  uint8_t* scratch = static_cast<mattec_kernel_buffer*>(arguments[2])->host;
  const auto row = static_cast<uint8_t>(*static_cast<int32_t*>(arguments[0]));
  std::fill(scratch, scratch + 64, row);
  std::this_thread::yield();
  if (std::count(scratch, scratch + 64, row) != 64) ++disturbed;
  ++scratch_tasks;
  return 0;
}

void on_six_threads(void*, int32_t count, mattec_task task, void* context) {
  std::atomic<int32_t> next{0};
  std::vector<std::thread> threads;
  threads.reserve(6);
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&] {
      for (int32_t index = next++; index < count; index = next++) task(context, index);
    });
  for (std::thread& thread : threads) thread.join();
}

void expect_scratch_of_its_own(const mattec_options& options) {
  HandMadeNetwork network(8, 8, 1);
  const mattec_operand operand = {MATTEC_IN_SCRATCH, 0, 0};
  mattec_step_record step = {};
  step.kernel = scratch_kernel;
  step.operands = &operand;
  step.operand_count = 1;
  step.wanted = MATTEC_FOR_STATES;
  step.rows = 200;
  step.rows_per_task = 1;
  network.plan.steps = &step;
  network.plan.step_count = 1;
  network.plan.arena_bytes = (network.plan.arena_bytes + 63) / 64 * 64 + 64;
  network.plan.scratch_bytes = 64;
  const auto bytes =
      static_cast<size_t>(network.plan.arena_bytes + (options.threads - 1) * int64_t{64});
  std::vector<uint8_t> memory(bytes + 128 + 64, 0xCD);
  uint8_t* arena = memory.data() + (128 - reinterpret_cast<uintptr_t>(memory.data()) % 128) % 128;
  mattec_session* session = nullptr;
  ASSERT_EQ(mattec_init(network.model(), arena, bytes, &options, &session), MATTEC_OK);
  std::vector<uint8_t> picture = noise_picture(8, 8, 1), alpha;
  const mattec_image frame = rgb_image(picture, 8, 8);
  const mattec_outputs outputs = {gray_image(alpha, 8, 8), {}};
  scratch_tasks = disturbed = 0;
  for (int i = 0; i < 10; ++i)
    ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
  mattec_close(session);
  EXPECT_EQ(scratch_tasks, 2000);
  EXPECT_EQ(disturbed, 0);
  EXPECT_EQ(arena[bytes], 0xCD) << "written behind the arena";
}

TEST(Threads, EveryTaskHasScratchOfItsOwn) {
  expect_scratch_of_its_own({1, nullptr, nullptr});
  expect_scratch_of_its_own({3, nullptr, nullptr});
  expect_scratch_of_its_own({6, on_six_threads, nullptr});
}

// Twice as wide as it said: its tasks wait for each other.
TEST(Threads, AWiderParallelForWaitsForScratch) {
  expect_scratch_of_its_own({3, on_six_threads, nullptr});
}

}  // namespace
}  // namespace mattec::test
