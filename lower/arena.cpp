#include "lower/arena.h"

#include <algorithm>
#include <numeric>

namespace mattec::lower {
namespace {

// Kernels may read (never write) up to a vector past the last pixel.
constexpr int64_t slack = 64;

int64_t aligned(int64_t bytes) {
  return (bytes + storage_alignment - 1) / storage_alignment * storage_alignment;
}

bool together(const Storage& a, const Storage& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

}  // namespace

void plan_arena(Plan& plan) {
  std::vector<int> order(plan.storages.size());
  std::iota(order.begin(), order.end(), 0);
  const auto bytes = [&](int id) { return plan.storages[size_t(id)].bytes(); };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return bytes(a) > bytes(b); });

  std::vector<const Storage*> placed;  // by offset
  for (const int id : order) {
    Storage& now = plan.storages[size_t(id)];
    const int64_t need = aligned(now.bytes() + slack);
    int64_t at = 0;
    for (const Storage* other : placed) {
      if (!together(now, *other)) continue;
      if (at + need <= other->offset) break;
      at = std::max(at, other->offset + aligned(other->bytes() + slack));
    }
    now.offset = at;
    plan.tensor_bytes = std::max(plan.tensor_bytes, at + need);
    const auto after = std::upper_bound(
        placed.begin(), placed.end(), at,
        [](int64_t offset, const Storage* other) { return offset < other->offset; });
    placed.insert(after, &now);
  }
}

}  // namespace mattec::lower
