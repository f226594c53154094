// What an interrupted quantization leaves, written and read.
#include <gtest/gtest.h>

#include "ir/compare.h"
#include "quantized_small.h"
#include "tests/scratch.h"
#include "tools/checkpoint.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

void expect_same(const ir::Graph& a, const ir::Graph& b) {
  EXPECT_EQ(ir::first_difference(a, b, 0), "");
}

Checkpoint example() {
  Checkpoint checkpoint;
  checkpoint.command = "quantize this";
  checkpoint.policy.weights = 4;
  checkpoint.policy.activation_bits["stem"] = 8;
  const ir::Graph fused = mattec::testing::SmallMattingNetwork(1).graph;
  checkpoint.start = mattec::testing::quantized(fused, quant::Method::mse, 4);
  checkpoint.reconstructed = mattec::testing::quantized(fused, quant::Method::mse, 8);
  checkpoint.reconstruction.loss = {1.0 / 3, 0.5};
  checkpoint.reconstruction.blocks = {{"stem", 2, 0.1, 0.7}};
  checkpoint.training.loss = {0.1};
  checkpoint.training.validation = {{0, 0.3}, {1, 0.2}};
  checkpoint.training.best_step = 1;
  return checkpoint;
}

TEST(Checkpoint, HoldsWhatIsNeededToGoOn) {
  const Scratch scratch;
  const std::string folder = checkpoint_path(scratch / "x.mattec");
  EXPECT_EQ(folder, scratch / "x.checkpoint");
  Checkpoint checkpoint = example();
  checkpoint.reconstruction.stopped = {checkpoint.reconstructed, 1, 2};
  write_checkpoint(checkpoint, folder);
  const Checkpoint blocks = read_checkpoint(folder, "quantize this");
  EXPECT_EQ(quant::policy_json(blocks.policy), quant::policy_json(checkpoint.policy));
  expect_same(blocks.start, checkpoint.start);
  ASSERT_TRUE(blocks.reconstruction.stopped);
  expect_same(blocks.reconstruction.stopped->network, checkpoint.reconstructed);
  EXPECT_EQ(blocks.reconstruction.stopped->blocks, 1U);
  EXPECT_EQ(blocks.reconstruction.stopped->steps, 2U);
  EXPECT_EQ(blocks.reconstruction.loss, checkpoint.reconstruction.loss);
  ASSERT_EQ(blocks.reconstruction.blocks.size(), 1U);
  EXPECT_EQ(blocks.reconstruction.blocks[0].name, "stem");
  EXPECT_EQ(blocks.reconstruction.blocks[0].steps, 2);
  EXPECT_EQ(blocks.reconstruction.blocks[0].ratio, 0.1);
  EXPECT_EQ(blocks.reconstruction.blocks[0].alpha_ratio, 0.7);
  EXPECT_TRUE(blocks.training.state.empty());

  // Replaced by one that stands in training.
  checkpoint.reconstruction.stopped.reset();
  checkpoint.training.state = std::string("bytes\0of any kind", 17);
  write_checkpoint(checkpoint, folder);
  const Checkpoint training = read_checkpoint(folder, "quantize this");
  EXPECT_FALSE(training.reconstruction.stopped);
  expect_same(training.reconstructed, checkpoint.reconstructed);
  EXPECT_EQ(training.training.state, checkpoint.training.state);
  EXPECT_EQ(training.training.loss, checkpoint.training.loss);
  EXPECT_EQ(training.training.validation, checkpoint.training.validation);
  EXPECT_EQ(training.training.best_step, 1);
  remove_checkpoint(folder);
  EXPECT_FALSE(fs::exists(folder));
}

TEST(Checkpoint, LeavesOtherFilesAlone) {
  const Scratch scratch;
  const std::string folder = scratch / "x.checkpoint";
  fs::create_directory(folder);
  write_bytes(folder + "/mine.txt", "mine");
  EXPECT_THROW(write_checkpoint(example(), folder), Error);
  remove_checkpoint(folder);
  EXPECT_EQ(scratch.entries("x.checkpoint"), 1U);
  EXPECT_EQ(scratch.entries(), 1U);
  // A file, and what a link leads to.
  write_bytes(scratch / "y.checkpoint", "mine");
  remove_checkpoint(scratch / "y.checkpoint");
  EXPECT_EQ(read_bytes(scratch / "y.checkpoint"), "mine");
  fs::create_directory(scratch / "elsewhere");
  write_bytes(scratch / "elsewhere/state.json", "mine");
  fs::create_directory_symlink(scratch / "elsewhere", scratch / "z.checkpoint");
  remove_checkpoint(scratch / "z.checkpoint");
  EXPECT_EQ(read_bytes(scratch / "elsewhere/state.json"), "mine");
}

TEST(Checkpoint, KnowsCommandsWhoseNamesAreNoUtf8) {
  const Scratch scratch;
  Checkpoint checkpoint = example();
  checkpoint.command = "quantize \xE9\xFF.pth";
  write_checkpoint(checkpoint, scratch / "x.checkpoint");
  EXPECT_EQ(read_checkpoint(scratch / "x.checkpoint", checkpoint.command).training.loss,
            checkpoint.training.loss);
  EXPECT_THROW(read_checkpoint(scratch / "x.checkpoint", "quantize e.pth"), Error);
}

}  // namespace
}  // namespace mattec::tools
