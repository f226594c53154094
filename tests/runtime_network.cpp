#include "tests/runtime_network.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>

namespace mattec::test {
namespace {

constexpr uint8_t frame_border[4] = {10, 20, 30, 0};
constexpr uint8_t mixed_border = 5;
constexpr uint8_t color_border[3] = {7, 8, 9};
constexpr int16_t initial_state = 3;

std::atomic<int> mix_calls{0}, matte_calls{0}, foreground_calls{0};

// What a kernel finds among its operands, in the constants.
struct Geometry {
  int32_t width, frame_row, mixed_row, color_row;
};

uint8_t* host(void** arguments, int operand) {
  return static_cast<mattec_kernel_buffer*>(arguments[2 + operand])->host;
}
int row_count(void** arguments) { return *static_cast<int32_t*>(arguments[1]); }
const Geometry& geometry(void** arguments) {
  return *reinterpret_cast<Geometry*>(host(arguments, 0));
}

// 25 values around a pixel -> matte. `tiny` is subnormal and its product with the sum is, so the
// second summand vanishes without subnormal operands or results; rounding upwards changes half of
// all mattes. Volatile: computed at run time.
uint8_t matte_of(int sum) {
  volatile float factor = 0.37F, tiny = 1e-42F, back = 1e38F;
  volatile float small = static_cast<float>(sum) * tiny;
  volatile float value = static_cast<float>(sum) * factor;
  value = value + small * back * 20.0F;
  return static_cast<uint8_t>(std::lrintf(value) & 255);
}

// operands: geometry, frame (halo 1), state, mixed, colors
int mix_kernel(void** arguments) {
  ++mix_calls;
  const Geometry& g = geometry(arguments);
  for (int y = 0; y < row_count(arguments); ++y) {
    const uint8_t* frame = host(arguments, 1) + static_cast<ptrdiff_t>(y) * g.frame_row;
    const auto* state =
        reinterpret_cast<const int16_t*>(host(arguments, 2)) + static_cast<ptrdiff_t>(y) * g.width;
    uint8_t* mixed = host(arguments, 3) + static_cast<ptrdiff_t>(y) * g.mixed_row;
    uint8_t* colors = host(arguments, 4) + static_cast<ptrdiff_t>(y) * g.color_row;
    for (int x = 0; x < g.width; ++x) {
      const int red_above = frame[-g.frame_row + 4 * x];
      const int green_right = frame[4 * (x + 1) + 1];
      const int blue_below_left = frame[g.frame_row + 4 * (x - 1) + 2];
      mixed[x] =
          static_cast<uint8_t>(red_above + green_right + blue_below_left + state[x] + frame[3]);
      std::memcpy(colors + static_cast<ptrdiff_t>(3) * x, frame + static_cast<ptrdiff_t>(4) * x, 3);
    }
  }
  return 0;
}

// operands: geometry, mixed (halo 2), alpha, state
int matte_kernel(void** arguments) {
  ++matte_calls;
  const Geometry& g = geometry(arguments);
  for (int y = 0; y < row_count(arguments); ++y) {
    const uint8_t* mixed = host(arguments, 1) + static_cast<ptrdiff_t>(y) * g.mixed_row;
    uint8_t* alpha = host(arguments, 2) + static_cast<ptrdiff_t>(y) * g.width;
    auto* state =
        reinterpret_cast<int16_t*>(host(arguments, 3)) + static_cast<ptrdiff_t>(y) * g.width;
    for (int x = 0; x < g.width; ++x) {
      int sum = 0;
      for (int j = -2; j <= 2; ++j)
        for (int i = -2; i <= 2; ++i) sum += mixed[j * g.mixed_row + x + i];
      alpha[x] = matte_of(sum);
      state[x] = static_cast<int16_t>(alpha[x] - 100);
    }
  }
  return 0;
}

// operands: geometry, colors (halo 1), foreground
int foreground_kernel(void** arguments) {
  ++foreground_calls;
  const Geometry& g = geometry(arguments);
  for (int y = 0; y < row_count(arguments); ++y) {
    const uint8_t* colors = host(arguments, 1) + static_cast<ptrdiff_t>(y) * g.color_row;
    uint8_t* out = host(arguments, 2) + static_cast<ptrdiff_t>(y) * g.width * 4;
    for (int x = 0; x < g.width; ++x, out += 4) {
      out[0] = colors[-g.color_row + 3 * x];
      out[1] = colors[g.color_row + 3 * (x + 1) + 1];
      out[2] = colors[3 * (x - 1) + 2];
      out[3] = 77;  // unused; must not reach anyone
    }
  }
  return 0;
}

}  // namespace

KernelCalls take_kernel_calls() {
  return {mix_calls.exchange(0), matte_calls.exchange(0), foreground_calls.exchange(0)};
}

int64_t HandMadeNetwork::place(int64_t bytes) {
  const int64_t offset = used_ + 8;
  used_ = (offset + bytes + 15) / 8 * 8;
  return offset;
}

int64_t HandMadeNetwork::constant(const std::vector<uint8_t>& bytes) {
  const auto offset = static_cast<int64_t>(constants.size());
  constants.insert(constants.end(), bytes.begin(), bytes.end());
  return offset;
}

mattec_halo HandMadeNetwork::tensor(int halo, int pixel_bytes,
                                    const std::vector<uint8_t>& pattern) {
  mattec_halo record = {};
  record.width = width_;
  record.height = height_;
  record.halo = halo;
  record.pixel_bytes = pixel_bytes;
  record.row_bytes = (width_ + 2 * halo) * pixel_bytes + 5;  // rows need not touch
  record.pattern = constant(pattern);
  record.offset = place(record.row_bytes * (height_ + 2 * halo)) + halo * record.row_bytes +
                  static_cast<int64_t>(halo) * pixel_bytes;
  return record;
}

HandMadeNetwork::HandMadeNetwork(int width, int height, int rows_per_task)
    : width_(width), height_(height) {
  constants.resize(sizeof(Geometry));
  const std::vector<uint8_t> border(frame_border, frame_border + 4);
  for (int halo : {1, 0, 3}) frames.push_back({tensor(halo, 4, border)});
  mixed = tensor(2, 1, {mixed_border});
  colors = tensor(1, 3, {color_border[0], color_border[1], color_border[2]});

  const int64_t state = place(int64_t{2} * width * height);
  states.push_back({state, int64_t{2} * width * height, constant({initial_state, 0}), 2});
  states.push_back({place(1000), 1000, constant({1, 2, 3}), 3});  // 1000 = 333 * 3 + 1
  plan.alpha = {place(int64_t{1} * width * height), width, 1};
  plan.foreground = {place(int64_t{4} * width * height), int64_t{4} * width, 4};
  add_steps(rows_per_task, state);

  const Geometry g = {width, static_cast<int32_t>(frames[0].halo.row_bytes),
                      static_cast<int32_t>(mixed.row_bytes),
                      static_cast<int32_t>(colors.row_bytes)};
  std::memcpy(constants.data(), &g, sizeof g);

  plan.model.functions = &mattec_runtime_functions;
  plan.abi_version = MATTEC_ABI_VERSION;
  plan.width = width;
  plan.height = height;
  plan.tensors_offset = MATTEC_SESSION_BYTES;
  plan.arena_bytes = plan.tensors_offset + used_ + 8;
  plan.arena_alignment = 128;
  plan.constants = constants.data();
  plan.frames = frames.data();
  plan.frame_count = static_cast<int64_t>(frames.size());
  plan.steps = steps.data();
  plan.step_count = static_cast<int64_t>(steps.size());
  plan.states = states.data();
  plan.state_count = static_cast<int64_t>(states.size());

  memory_.assign(static_cast<size_t>(plan.arena_bytes + plan.arena_alignment), 0xCD);
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  arena = memory_.data() + (128 - address % 128) % 128;
}

void HandMadeNetwork::add_steps(int rows_per_task, int64_t state) {
  const mattec_operand shape = {MATTEC_IN_CONSTANTS, 0, 0};
  const auto whole = [](const mattec_halo& t) {
    return mattec_operand{MATTEC_IN_ARENA, t.offset, t.row_bytes};
  };
  const mattec_operand states_row = {MATTEC_IN_ARENA, state, int64_t{2} * width_};
  operands_ = {
      {shape, whole(frames[0].halo), states_row, whole(mixed), whole(colors)},
      {shape, whole(mixed), {MATTEC_IN_ARENA, plan.alpha.offset, width_}, states_row},
      {shape, whole(colors), {MATTEC_IN_ARENA, plan.foreground.offset, int64_t{4} * width_}}};
  halos_ = {mixed, colors};
  const mattec_kernel kernels[] = {mix_kernel, matte_kernel, foreground_kernel};
  for (size_t i = 0; i < 3; ++i) {
    mattec_step_record step = {};
    step.kernel = kernels[i];
    step.operands = operands_[i].data();
    step.operand_count = static_cast<int64_t>(operands_[i].size());
    step.rows = height_;
    step.rows_per_task = rows_per_task;
    step.wanted = i == 2 ? MATTEC_FOR_FOREGROUND : MATTEC_FOR_STATES;
    steps.push_back(step);
  }
  steps[0].halos = halos_.data();
  steps[0].halo_count = 2;
}

PlainNetwork::PlainNetwork(int width, int height) : width_(width), height_(height) { reset(); }

void PlainNetwork::reset() { state_.assign(static_cast<size_t>(width_) * height_, initial_state); }

void PlainNetwork::step(const std::vector<uint8_t>& rgb) {
  const auto inside = [&](int y, int x) { return y >= 0 && y < height_ && x >= 0 && x < width_; };
  const auto index = [&](int y, int x) { return static_cast<size_t>(y) * width_ + x; };
  const auto frame = [&](int y, int x, int c) {
    return inside(y, x) ? rgb[index(y, x) * 3 + c] : frame_border[c];
  };
  const auto color = [&](int y, int x, int c) {
    return inside(y, x) ? rgb[index(y, x) * 3 + c] : color_border[c];
  };
  std::vector<uint8_t> mixed(state_.size());
  for (int y = 0; y < height_; ++y)
    for (int x = 0; x < width_; ++x)
      mixed[index(y, x)] = static_cast<uint8_t>(frame(y - 1, x, 0) + frame(y, x + 1, 1) +
                                                frame(y + 1, x - 1, 2) + state_[index(y, x)]);
  alpha.resize(mixed.size());
  foreground.resize(3 * mixed.size());
  for (int y = 0; y < height_; ++y) {
    for (int x = 0; x < width_; ++x) {
      int sum = 0;
      for (int j = y - 2; j <= y + 2; ++j)
        for (int i = x - 2; i <= x + 2; ++i)
          sum += inside(j, i) ? mixed[index(j, i)] : mixed_border;
      alpha[index(y, x)] = matte_of(sum);
      state_[index(y, x)] = static_cast<int16_t>(alpha[index(y, x)] - 100);
      foreground[index(y, x) * 3] = color(y - 1, x, 0);
      foreground[index(y, x) * 3 + 1] = color(y + 1, x + 1, 1);
      foreground[index(y, x) * 3 + 2] = color(y, x - 1, 2);
    }
  }
}

std::vector<uint8_t> noise_picture(int width, int height, uint32_t seed) {
  std::vector<uint8_t> rgb(static_cast<size_t>(width) * height * 3);
  uint32_t word = seed * 2654435761U + 1;
  for (uint8_t& value : rgb) {
    word = word * 1664525U + 1013904223U;
    value = static_cast<uint8_t>(word >> 24);
  }
  return rgb;
}

mattec_image rgb_image(std::vector<uint8_t>& pixels, int width, int height) {
  pixels.resize(static_cast<size_t>(width) * height * 3);
  return {pixels.data(), width, height, ptrdiff_t{3} * width, MATTEC_RGB};
}

mattec_image gray_image(std::vector<uint8_t>& pixels, int width, int height) {
  pixels.resize(static_cast<size_t>(width) * height);
  return {pixels.data(), width, height, width, MATTEC_GRAY};
}

void expect_matches_plain(HandMadeNetwork& network, const mattec_options* options, int count) {
  const auto width = static_cast<int>(network.plan.width);
  const auto height = static_cast<int>(network.plan.height);
  mattec_session* session = nullptr;
  ASSERT_EQ(mattec_init(network.model(), network.arena,
                        static_cast<size_t>(network.plan.arena_bytes), options, &session),
            MATTEC_OK);
  PlainNetwork plain(width, height);
  for (int i = 0; i < count; ++i) {
    std::vector<uint8_t> picture = noise_picture(width, height, static_cast<uint32_t>(i));
    std::vector<uint8_t> alpha, foreground;
    plain.step(picture);
    const mattec_image frame = rgb_image(picture, width, height);
    const mattec_outputs outputs = {gray_image(alpha, width, height),
                                    rgb_image(foreground, width, height)};
    ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
    ASSERT_EQ(alpha, plain.alpha) << "frame " << i;
    ASSERT_EQ(foreground, plain.foreground) << "frame " << i;
  }
  mattec_close(session);
}

}  // namespace mattec::test
