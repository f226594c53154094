// The memory plan: what lives at the same time does not overlap, and memory is used again.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "lower/arena.h"

namespace mattec::lower {
namespace {

constexpr int64_t reach = 64;  // bytes that kernels may read beyond a tensor

Storage storage_of(int rows, int first_step, int last_step) {
  Storage made;
  made.size = {rows, 16};
  made.pixel_stride = 4;
  made.first_step = first_step;
  made.last_step = last_step;
  return made;
}

bool together(const Storage& a, const Storage& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

Plan random_plan(uint32_t seed) {
  std::mt19937 random(seed);
  const int steps = 1 + static_cast<int>(random() % 40);
  Plan plan;
  for (int i = 0; i < 60; ++i) {
    const int first = static_cast<int>(random() % static_cast<uint32_t>(steps));
    const int last = std::min(steps, first + static_cast<int>(random() % 8));
    plan.storages.push_back(storage_of(1 + static_cast<int>(random() % 97), first, last));
    plan.storages.back().halo = static_cast<int>(random() % 3);
    plan.storages.back().element_bytes = 1 + static_cast<int>(random() % 2);
  }
  return plan;
}

// Memory that no plan can do without.
int64_t most_alive(const Plan& plan) {
  int64_t most = 0;
  for (int step = 0; step <= 48; ++step) {
    int64_t alive = 0;
    for (const Storage& storage : plan.storages)
      if (storage.first_step <= step && step <= storage.last_step) alive += storage.bytes();
    most = std::max(most, alive);
  }
  return most;
}

TEST(Arena, KeepsWhatLivesTogetherApart) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    Plan plan = random_plan(seed);
    plan_arena(plan);
    for (const Storage& a : plan.storages) {
      ASSERT_GE(a.offset, 0);
      ASSERT_EQ(a.offset % storage_alignment, 0);
      ASSERT_LE(a.offset + a.bytes() + reach, plan.tensor_bytes);
      for (const Storage& b : plan.storages)
        if (&a != &b && together(a, b)) {
          ASSERT_TRUE(a.offset + a.bytes() <= b.offset || b.offset + b.bytes() <= a.offset)
              << "seed " << seed;
        }
    }
  }
}

// First-fit wastes some: at most a third on these, where no reuse at all would need 3 to 8 times
// the floor.
TEST(Arena, UsesMemoryAgain) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    Plan plan = random_plan(seed);
    plan_arena(plan);
    const int64_t padding = 128 * static_cast<int64_t>(plan.storages.size());
    EXPECT_LE(plan.tensor_bytes, most_alive(plan) * 4 / 3 + padding) << "seed " << seed;
  }
}

TEST(Arena, AChainNeedsTwoPlaces) {
  Plan plan;
  for (int step = 0; step < 9; ++step) plan.storages.push_back(storage_of(8, step, step + 1));
  plan_arena(plan);
  EXPECT_EQ(plan.tensor_bytes, 2 * (plan.storages[0].bytes() + 64));
}

}  // namespace
}  // namespace mattec::lower
