// What the runtime itself costs a frame of 512x288: images in and out, halos, handing out tasks.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "runtime/model.h"

namespace {

constexpr int64_t width = 512, height = 288;

int no_kernel(void** arguments) {
  benchmark::DoNotOptimize(arguments);
  return 0;
}

// About 20 microseconds of work, whatever the rows.
int busy_kernel(void** arguments) {
  uint32_t value = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(arguments));
  for (int i = 0; i < 20000; ++i) benchmark::DoNotOptimize(value = value * 1664525U + 1);
  return 0;
}

// A plan without a network: frames, outputs and steps whose kernels compute nothing.
struct Plan {
  Plan() {
    record.model.functions = &mattec_runtime_functions;
    record.abi_version = MATTEC_ABI_VERSION;
    record.width = width;
    record.height = height;
    record.tensors_offset = MATTEC_SESSION_BYTES;
    record.arena_alignment = 64;
    record.constants = constants.data();
    record.alpha = {place(width * height), width, 1};
    record.foreground = {place(4 * width * height), 4 * width, 4};
  }
  int64_t place(int64_t bytes) {
    const int64_t offset = used;
    used += (bytes + 63) / 64 * 64;
    return offset;
  }
  mattec_halo tensor(int64_t w, int64_t h, int64_t pixel_bytes, int64_t halo) {
    const int64_t row_bytes = (w + 2 * halo) * pixel_bytes;
    const int64_t offset = place(row_bytes * (h + 2 * halo));
    return {offset + halo * (row_bytes + pixel_bytes), w, h, halo, pixel_bytes, row_bytes, 0};
  }
  // Fills `steps` from `halos`, one each, and starts a session.
  mattec_session* start(mattec_kernel kernel, int64_t rows_per_task, int threads) {
    for (const mattec_halo& halo : halos) {
      mattec_step_record step = {};
      step.kernel = kernel;
      step.wanted = MATTEC_FOR_STATES;
      step.rows = halo.height;
      step.rows_per_task = rows_per_task;
      step.halos = &halo;
      step.halo_count = 1;
      steps.push_back(step);
    }
    record.frames = frames.data();
    record.frame_count = static_cast<int64_t>(frames.size());
    record.steps = steps.data();
    record.step_count = static_cast<int64_t>(steps.size());
    record.arena_bytes = MATTEC_SESSION_BYTES + used;
    memory.resize(static_cast<size_t>(record.arena_bytes + 64));
    uint8_t* arena = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    const mattec_options options = {threads, nullptr, nullptr};
    mattec_session* session = nullptr;
    mattec_init(&record.model, arena, static_cast<size_t>(record.arena_bytes), &options, &session);
    return session;
  }

  mattec_plan record = {};
  std::vector<uint8_t> constants = std::vector<uint8_t>(1024, 128), memory;
  std::vector<mattec_halo> halos;
  std::vector<mattec_frame_record> frames;
  std::vector<mattec_step_record> steps;
  int64_t used = 0;
};

std::vector<uint8_t> pixels(4 * width * height, 100);
const mattec_image plain_frame = {pixels.data(), width, height, 3 * width, MATTEC_RGB};

mattec_image image_of(mattec_format format, std::vector<uint8_t>& memory) {
  const int bytes = format == MATTEC_GRAY                            ? 1
                    : format == MATTEC_RGBA || format == MATTEC_BGRA ? 4
                                                                     : 3;
  memory.resize(4 * width * height);
  return {memory.data(), width, height, bytes * width, format};
}

void frame_in(benchmark::State& state) {
  Plan plan;
  plan.frames.push_back({plan.tensor(width, height, 4, 1)});
  mattec_session* session = plan.start(no_kernel, 1, 1);
  const mattec_image frame = image_of(static_cast<mattec_format>(state.range(0)), pixels);
  const mattec_outputs outputs = {};
  while (state.KeepRunning()) mattec_step(session, &frame, nullptr, &outputs);
}
BENCHMARK(frame_in)->DenseRange(MATTEC_RGB, MATTEC_BGRA)->Unit(benchmark::kMicrosecond);

void alpha_out(benchmark::State& state) {
  Plan plan;
  mattec_session* session = plan.start(no_kernel, 1, 1);
  std::vector<uint8_t> alpha;
  const mattec_outputs outputs = {image_of(MATTEC_GRAY, alpha), {}};
  while (state.KeepRunning()) mattec_step(session, &plain_frame, nullptr, &outputs);
}
BENCHMARK(alpha_out)->Unit(benchmark::kMicrosecond);

void foreground_out(benchmark::State& state) {
  Plan plan;
  mattec_session* session = plan.start(no_kernel, 1, 1);
  std::vector<uint8_t> memory;
  const mattec_outputs outputs = {{}, image_of(static_cast<mattec_format>(state.range(0)), memory)};
  while (state.KeepRunning()) mattec_step(session, &plain_frame, nullptr, &outputs);
}
BENCHMARK(foreground_out)->DenseRange(MATTEC_RGB, MATTEC_BGRA)->Unit(benchmark::kMicrosecond);

// The borders of an RVM's tensors at 512x288: inputs of its depthwise convolutions, then those of
// its decoder.
void halos_of_a_frame(benchmark::State& state) {
  Plan plan;
  const struct {
    int shrink, halo;
    std::vector<int> channels;
  } groups[] = {{2, 1, {16, 64}},
                {4, 1, {72}},
                {4, 2, {72}},
                {8, 2, {120, 120}},
                {8, 1, {240}},
                {16, 1, {200, 184, 184, 480, 672}},
                {16, 4, {672, 960, 960}},
                {16, 1, {64, 64, 64, 64, 128, 128}},
                {8, 1, {128, 40, 4, 40, 40, 40, 40, 80}},
                {4, 1, {80, 24, 4, 32, 32, 32, 32, 64}},
                {2, 1, {40, 16, 4, 16, 16, 16, 16, 32}},
                {1, 1, {32, 4, 16, 16}}};
  for (const auto& group : groups)
    for (int channels : group.channels)
      plan.halos.push_back(
          plan.tensor(width / group.shrink, height / group.shrink, channels, group.halo));
  mattec_session* session = plan.start(no_kernel, 8, 1);
  const mattec_outputs outputs = {};
  while (state.KeepRunning()) mattec_step(session, &plain_frame, nullptr, &outputs);
}
BENCHMARK(halos_of_a_frame)->Unit(benchmark::kMicrosecond);

// 100 steps of 16 tasks. First argument: threads; second: tasks with work in them.
void hundred_regions(benchmark::State& state) {
  Plan plan;
  plan.halos.assign(100, plan.tensor(16, 16, 4, 0));
  mattec_session* session =
      plan.start(state.range(1) ? busy_kernel : no_kernel, 1, static_cast<int>(state.range(0)));
  const mattec_outputs outputs = {};
  while (state.KeepRunning()) mattec_step(session, &plain_frame, nullptr, &outputs);
  mattec_close(session);
}
BENCHMARK(hundred_regions)
    ->ArgsProduct({{1, 2, 4}, {0, 1}})
    ->ArgNames({"threads", "busy"})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
