// Life of a session: every status code, states, skipped work, several plans side by side.
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

#include "tests/runtime_network.h"

namespace mattec::test {
namespace {

class Session : public testing::Test {
 protected:
  static constexpr int width = 21, height = 13;

  mattec_status init() { return init(network.arena, bytes(), nullptr); }
  mattec_status init(void* arena, size_t arena_bytes, const mattec_options* options) {
    return mattec_init(network.model(), arena, arena_bytes, options, &session);
  }
  mattec_status step() { return mattec_step(session, &frame, nullptr, &outputs); }
  size_t bytes() const { return static_cast<size_t>(network.plan.arena_bytes); }

  HandMadeNetwork network{width, height, 4};
  mattec_session* session = nullptr;
  std::vector<uint8_t> picture = noise_picture(width, height, 1), alpha, foreground;
  mattec_image frame = rgb_image(picture, width, height);
  mattec_outputs outputs = {gray_image(alpha, width, height), rgb_image(foreground, width, height)};
};

TEST_F(Session, RefusesNullArguments) {
  EXPECT_EQ(mattec_init(nullptr, network.arena, bytes(), nullptr, &session),
            MATTEC_ERROR_NULL_ARGUMENT);
  EXPECT_EQ(mattec_init(network.model(), network.arena, bytes(), nullptr, nullptr),
            MATTEC_ERROR_NULL_ARGUMENT);
  EXPECT_EQ(init(nullptr, bytes(), nullptr), MATTEC_ERROR_NULL_ARGUMENT);
  EXPECT_EQ(step(), MATTEC_ERROR_NULL_ARGUMENT) << "no session";
  ASSERT_EQ(init(), MATTEC_OK);
  EXPECT_EQ(mattec_step(session, nullptr, nullptr, &outputs), MATTEC_ERROR_NULL_ARGUMENT);
  EXPECT_EQ(mattec_step(session, &frame, nullptr, nullptr), MATTEC_ERROR_NULL_ARGUMENT);
  frame.pixels = nullptr;
  EXPECT_EQ(step(), MATTEC_ERROR_NULL_ARGUMENT);
  mattec_reset(nullptr);
  mattec_close(nullptr);
}

TEST_F(Session, RefusesAnotherAbiVersion) {
  EXPECT_EQ(network.model()->functions->init(network.model(), MATTEC_ABI_VERSION + 1, network.arena,
                                             bytes(), nullptr, &session),
            MATTEC_ERROR_ABI_VERSION);
  network.plan.abi_version = MATTEC_ABI_VERSION + 1;
  EXPECT_EQ(init(), MATTEC_ERROR_ABI_VERSION);
}

TEST_F(Session, RefusesAnUnfitArenaAndLeavesItAlone) {
  EXPECT_EQ(init(network.arena, bytes() - 1, nullptr), MATTEC_ERROR_ARENA_TOO_SMALL);
  EXPECT_EQ(init(network.arena, 0, nullptr), MATTEC_ERROR_ARENA_TOO_SMALL);
  // 64 is aligned enough for the session, not for this plan's 128.
  EXPECT_EQ(init(network.arena + 64, bytes(), nullptr), MATTEC_ERROR_ARENA_ALIGNMENT);
  EXPECT_EQ(init(network.arena + 1, bytes(), nullptr), MATTEC_ERROR_ARENA_ALIGNMENT);
  EXPECT_EQ(session, nullptr);
  for (size_t i = 0; i < bytes(); ++i) ASSERT_EQ(network.arena[i], 0xCD);
}

TEST_F(Session, WantsScratchForEveryThread) {
  network.plan.scratch_bytes = 64;
  mattec_options options = {1, nullptr, nullptr};
  EXPECT_EQ(init(network.arena, bytes(), &options), MATTEC_OK);
  mattec_close(session);
  options.threads = 3;
  EXPECT_EQ(init(network.arena, bytes() + 127, &options), MATTEC_ERROR_ARENA_TOO_SMALL);
}

TEST_F(Session, RefusesAProcessorWithoutTheTargetsInstructions) {
  network.plan.cpu_features = 1 << 30;  // an instruction set that this runtime has not heard of
  EXPECT_EQ(init(), MATTEC_ERROR_UNSUPPORTED_CPU);
#if defined(__x86_64__)
  network.plan.cpu_features = MATTEC_CPU_AVX2;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  EXPECT_EQ(init(), avx2 ? MATTEC_OK : MATTEC_ERROR_UNSUPPORTED_CPU);
  network.plan.cpu_features = MATTEC_CPU_AVX512_ICELAKE | MATTEC_CPU_AVX2;
  const bool icelake = avx2 && __builtin_cpu_supports("avx512vnni") &&
                       __builtin_cpu_supports("avx512vbmi2") &&
                       __builtin_cpu_supports("avx512bitalg");
  EXPECT_EQ(init(), icelake ? MATTEC_OK : MATTEC_ERROR_UNSUPPORTED_CPU);
#endif
}

TEST_F(Session, RefusesNegativeThreads) {
  const mattec_options options = {-1, nullptr, nullptr};
  EXPECT_EQ(init(network.arena, bytes(), &options), MATTEC_ERROR_THREADS);
  EXPECT_EQ(session, nullptr);
}

TEST_F(Session, RefusesImagesOfAnotherSize) {
  ASSERT_EQ(init(), MATTEC_OK);
  for (mattec_image* image : {&frame, &outputs.alpha, &outputs.foreground}) {
    const mattec_image good = *image;
    const ptrdiff_t row = good.stride;
    for (int w : {0, -width, width - 1, width + 1}) {
      image->width = w;
      EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_SIZE) << "width " << w;
    }
    *image = good;
    for (int h : {0, -height, height - 1, height + 1}) {
      image->height = h;
      EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_SIZE) << "height " << h;
    }
    *image = good;
    for (ptrdiff_t stride : {ptrdiff_t{0}, row - 1, 1 - row}) {
      image->stride = stride;
      EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_SIZE) << "stride " << stride;
    }
    *image = good;
  }
  EXPECT_EQ(step(), MATTEC_OK);
}

TEST_F(Session, RefusesFormatsInTheWrongPlace) {
  ASSERT_EQ(init(), MATTEC_OK);
  for (int unknown : {5, -1, 1000}) {
    frame.format = static_cast<mattec_format>(unknown);
    EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_FORMAT);
  }
  frame.format = MATTEC_GRAY;
  EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_FORMAT);
  frame.format = MATTEC_RGB;
  outputs.alpha.format = MATTEC_RGB;
  EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_FORMAT);
  outputs.alpha.format = MATTEC_GRAY;
  outputs.foreground.format = MATTEC_GRAY;
  EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_FORMAT);
}

TEST_F(Session, RefusesAForegroundThatTheNetworkDoesNotHave) {
  network.plan.foreground = {};
  ASSERT_EQ(init(), MATTEC_OK);
  EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_FORMAT);
  outputs.foreground.pixels = nullptr;
  EXPECT_EQ(step(), MATTEC_OK);
}

TEST_F(Session, RefusesFlow) {
  ASSERT_EQ(init(), MATTEC_OK);
  const auto* flow = reinterpret_cast<const mattec_flow*>(picture.data());
  EXPECT_EQ(mattec_step(session, &frame, flow, &outputs), MATTEC_ERROR_FLOW);
}

TEST_F(Session, AStepThatFailsChangesNothing) {
  ASSERT_EQ(init(), MATTEC_OK);
  outputs.foreground.stride = 1;
  take_kernel_calls();
  std::fill(alpha.begin(), alpha.end(), 0xEE);
  EXPECT_EQ(step(), MATTEC_ERROR_IMAGE_SIZE);
  EXPECT_EQ(take_kernel_calls().mix, 0);
  EXPECT_EQ(alpha, std::vector<uint8_t>(alpha.size(), 0xEE));
}

TEST_F(Session, EveryStatusHasItsOwnMessage) {
  std::set<std::string> messages;
  for (int status = MATTEC_OK; status <= MATTEC_ERROR_KERNEL; ++status)
    messages.insert(mattec_message(network.model(), static_cast<mattec_status>(status)));
  EXPECT_EQ(messages.size(), 11U);
  EXPECT_EQ(messages.count("Unknown status."), 0U);
  EXPECT_STREQ(mattec_message(network.model(), static_cast<mattec_status>(99)), "Unknown status.");
}

TEST_F(Session, ResetIsAFreshStart) {
  ASSERT_EQ(init(), MATTEC_OK);
  ASSERT_EQ(step(), MATTEC_OK);
  const std::vector<uint8_t> first = alpha;
  ASSERT_EQ(step(), MATTEC_OK);
  EXPECT_NE(alpha, first) << "the state must matter, or this test shows nothing";
  mattec_reset(session);
  ASSERT_EQ(step(), MATTEC_OK);
  EXPECT_EQ(alpha, first);
}

TEST_F(Session, StatesAreFilledWithWholeAndCutPatterns) {
  ASSERT_EQ(init(), MATTEC_OK);
  const mattec_state_record& state = network.states[1];
  const uint8_t* bytes = network.at(state.offset);
  EXPECT_EQ(bytes[-1], 0xCD);
  for (int64_t i = 0; i < state.bytes; ++i) ASSERT_EQ(bytes[i], 1 + i % 3) << i;
  EXPECT_EQ(bytes[state.bytes], 0xCD);
}

TEST_F(Session, SkipsTheForegroundNobodyWants) {
  ASSERT_EQ(init(), MATTEC_OK);
  take_kernel_calls();
  outputs.foreground = {};
  ASSERT_EQ(step(), MATTEC_OK);
  KernelCalls calls = take_kernel_calls();
  EXPECT_EQ(calls.mix, 4);  // 13 rows in tasks of 4
  EXPECT_EQ(calls.matte, 4);
  EXPECT_EQ(calls.foreground, 0);

  // The other way round, and with no output at all: the state still moves on.
  outputs = {};
  outputs.foreground = rgb_image(foreground, width, height);
  ASSERT_EQ(step(), MATTEC_OK);
  calls = take_kernel_calls();
  EXPECT_EQ(calls.matte, 4);
  EXPECT_EQ(calls.foreground, 4);
  outputs = {};
  ASSERT_EQ(step(), MATTEC_OK);
  outputs.alpha = gray_image(alpha, width, height);
  ASSERT_EQ(step(), MATTEC_OK);
  PlainNetwork plain(width, height);
  for (int i = 0; i < 4; ++i) plain.step(picture);
  EXPECT_EQ(alpha, plain.alpha);
}

// Alpha lies in the fourth byte of a foreground of four.
TEST_F(Session, AForegroundOfFourBytesWantsAlpha) {
  network.steps[1].wanted = MATTEC_FOR_ALPHA;
  ASSERT_EQ(init(), MATTEC_OK);
  outputs.alpha = {};
  take_kernel_calls();
  ASSERT_EQ(step(), MATTEC_OK);
  EXPECT_EQ(take_kernel_calls().matte, 0);
  std::vector<uint8_t> rgba(size_t{4} * width * height);
  outputs.foreground = {rgba.data(), width, height, ptrdiff_t{4} * width, MATTEC_RGBA};
  ASSERT_EQ(step(), MATTEC_OK);
  EXPECT_EQ(take_kernel_calls().matte, 4);
}

int failing_kernel(void**) { return -1; }

TEST_F(Session, AKernelThatFailsEndsTheStep) {
  network.steps[1].kernel = failing_kernel;
  ASSERT_EQ(init(), MATTEC_OK);
  take_kernel_calls();
  std::fill(alpha.begin(), alpha.end(), 0xEE);
  EXPECT_EQ(step(), MATTEC_ERROR_KERNEL);
  const KernelCalls calls = take_kernel_calls();
  EXPECT_EQ(calls.mix, 4);
  EXPECT_EQ(calls.foreground, 0);
  EXPECT_EQ(alpha, std::vector<uint8_t>(alpha.size(), 0xEE));
}

TEST_F(Session, TwoPlansRunSideBySide) {
  HandMadeNetwork other(40, 30, 7);
  std::vector<uint8_t> other_picture = noise_picture(40, 30, 2), other_alpha;
  mattec_session* other_session = nullptr;
  ASSERT_EQ(init(), MATTEC_OK);
  ASSERT_EQ(mattec_init(other.model(), other.arena, static_cast<size_t>(other.plan.arena_bytes),
                        nullptr, &other_session),
            MATTEC_OK);
  const mattec_image other_frame = rgb_image(other_picture, 40, 30);
  const mattec_outputs other_outputs = {gray_image(other_alpha, 40, 30), {}};
  PlainNetwork plain(width, height), other_plain(40, 30);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(step(), MATTEC_OK);
    ASSERT_EQ(mattec_step(other_session, &other_frame, nullptr, &other_outputs), MATTEC_OK);
    plain.step(picture);
    other_plain.step(other_picture);
    ASSERT_EQ(alpha, plain.alpha);
    ASSERT_EQ(other_alpha, other_plain.alpha);
  }
}

TEST_F(Session, RunsAgainInTheSameArena) {
  for (int i = 0; i < 2; ++i) {
    network.plan.cpu_features = 0;
    expect_matches_plain(network, nullptr, 2);
  }
}

}  // namespace
}  // namespace mattec::test
