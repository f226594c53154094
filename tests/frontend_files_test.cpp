// Network files of every format: what is read, what is refused, and that corruption of any kind
// ends in one clear error.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <torch/script.h>

#include <random>

#include "base/error.h"
#include "frontend/read_network.h"
#include "frontend/zip.h"
#include "ir/compare.h"
#include "ir/safetensors.h"
#include "tests/frontend_networks.h"
#include "tests/pickles.h"

namespace mattec {
namespace {

using namespace testing;  // NOLINT: what makes the files

std::string error_of(const std::string& path) {
  try {
    frontend::read_network(path);
  } catch (const Error& error) {
    std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_NE(message.find(path), std::string::npos) << message;
    return message;
  }
  return "no error";
}

void expect_error(const std::string& path, const std::string& part) {
  EXPECT_NE(error_of(path).find(part), std::string::npos) << error_of(path);
}

frontend::Weights nano_weights() { return testing::random_weights(frontend::nano(), 11); }

void write_safetensors(const std::string& path, const frontend::Weights& weights) {
  ir::Container container;
  for (const auto& [name, array] : weights)
    container.arrays[name] = ir::Array::of(array.values, array.shape);
  ir::write_safetensors(container, path);
}

// The nano network's state dict with `pickled` in place of one tensor, which has 4 elements.
constexpr const char* replaced = "project_mat.conv.bias";
std::string with_tensor(const std::string& pickled, const std::string& data = std::string(64, 0)) {
  frontend::Weights weights = nano_weights();
  weights.erase(replaced);
  StateDict made = state_dict(weights);
  made.entries.push_back({"net/data/x", data});
  return checkpoint(dictionary(made.items + text(replaced) + pickled), made.entries);
}

TEST(Files, StateDictAndSafetensorsGiveEqualGraphs) {
  ScratchFolder folder;
  for (bool normalised : {false, true}) {
    frontend::Weights weights = nano_weights();
    if (normalised) testing::add_random_batch_norms(weights, 12);
    write_safetensors(folder.file("nano.safetensors"), weights);
    testing::write_bytes(folder.file("nano.pth"), state_dict_of(weights));
    const ir::Graph a = frontend::read_network(folder.file("nano.safetensors"));
    const ir::Graph b = frontend::read_network(folder.file("nano.pth"));
    EXPECT_EQ(ir::first_difference(a, b, 0), "");
    EXPECT_EQ(a.name, "mattec-nano");
  }
}

// Tensors as PyTorch really stores them: views with offset and strides, half and double precision,
// counters.
TEST(Files, StateDictTensorsOfOtherLayoutsAndTypes) {
  ScratchFolder folder;
  frontend::Weights weights = nano_weights();
  const std::string expected_file = folder.file("a.pth"), file = folder.file("b.pth");
  std::vector<float>& bias = weights["project_mat.conv.bias"].values;
  bias = {0.5F, -0.25F, 0.0F, 3.140625F};  // exact in 16 bits
  testing::write_bytes(expected_file, state_dict_of(weights));
  const ir::Graph expected = frontend::read_network(expected_file);

  std::string reversed_columns;  // [4, 8, 1, 1] stored as [8, 4], behind one unused value
  const std::vector<float>& weight = weights["project_mat.conv.weight"].values;
  reversed_columns += bytes_of({99});
  for (size_t i = 0; i < 8; ++i)
    for (size_t o = 0; o < 4; ++o) reversed_columns += bytes_of({weight[o * 8 + i]});
  std::string halves;
  for (uint16_t half : {0x3800, 0xb400, 0x0000, 0x4248}) halves += little_endian(half, 2);
  frontend::Weights rest = weights;
  rest.erase("project_mat.conv.bias");
  rest.erase("project_mat.conv.weight");
  // The rest as above, the two by hand.
  std::vector<std::pair<std::string, std::string>> entries = {{"n/data.pkl", ""}};
  std::string items;
  for (const auto& [name, array] : rest) {
    const std::string key = std::to_string(entries.size());
    std::vector<size_t> size, stride(array.shape.size(), 1);
    for (int64_t extent : array.shape) size.push_back(static_cast<size_t>(extent));
    for (size_t d = size.size(); d-- > 1;) stride[d - 1] = stride[d] * size[d];
    std::string data;
    for (float value : array.values) {
      const double wide = value;
      data.append(reinterpret_cast<const char*>(&wide), 8);
    }
    items +=
        text(name) + tensor(storage("DoubleStorage", key, array.values.size()), 0, size, stride);
    entries.push_back({"n/data/" + key, data});
  }
  items += text("project_mat.conv.weight") +
           tensor(storage("FloatStorage", "w", 33), 1, {4, 8, 1, 1}, {1, 4, 1, 1});
  items += text("project_mat.conv.bias") + tensor(storage("HalfStorage", "b", 4), 0, {4}, {1});
  items += text("backbone.features.0.1.num_batches_tracked") +
           tensor(storage("LongStorage", "n", 1), 0, {}, {});
  entries.push_back({"n/data/w", reversed_columns});
  entries.push_back({"n/data/b", halves});
  entries.push_back({"n/data/n", std::string(8, 0)});
  entries[0].second = dictionary(items);
  testing::write_bytes(file, zip_of(entries));
  EXPECT_EQ(ir::first_difference(expected, frontend::read_network(file), 0), "");
}

TEST(Files, OtherFilesAreRefused) {
  ScratchFolder folder;
  const std::string file = folder.file("network");
  EXPECT_NE(error_of(folder.file("absent.pth")).find("cannot be opened"), std::string::npos);
  expect_error(folder.file(""), "is a folder");
  expect_error("/dev/zero", "is a device");
  ASSERT_EQ(mkfifo(folder.file("pipe").c_str(), 0600), 0);
  expect_error(folder.file("pipe"), "is a pipe");
  for (const std::string& content :
       {std::string(), std::string("PK"), std::string(5000, 'x'), std::string("\x80\x02}q.", 5)}) {
    testing::write_bytes(file, content);
    EXPECT_NE(error_of(file), "no error");
  }
  testing::write_bytes(file,
                       zip_of(std::vector<ZipEntry>{stored_entry("archive/readme", "hello")}));
  expect_error(file, "is no network file");
  frontend::Weights strangers = {{"conv.weight", {{1, 1}, {1.0F}}}};
  write_safetensors(file, strangers);
  expect_error(file, "no known network");
}

TEST(Files, PickledCodeIsRefusedByName) {
  ScratchFolder folder;
  const std::string file = folder.file("evil.pth");
  const auto expect = [&](const std::string& pickled, const std::string& part) {
    testing::write_bytes(file, with_tensor(pickled));
    expect_error(file, part);
  };
  expect("cos\nsystem\n" + tuple({text("true")}) + "R",
         "project_mat.conv.bias' is a result of 'os system', and nothing pickled is executed");
  expect("ctorch\nload\n)R", "a result of 'torch load'");
  expect("ctorch._utils\n_rebuild_tensor_v2\n)R", "needs [4]");
  expect("ctorch\nFloatStorage\n)R", "a result of 'torch FloatStorage'");
  expect("c__builtin__\neval\n", "needs [4]");
  expect("\x97", "instruction 151 at byte");  // NEXT_BUFFER
  expect(integer(7), "needs [4]");
}

TEST(Files, TensorsBeyondTheirStorageAreRefused) {
  ScratchFolder folder;
  const std::string file = folder.file("net.pth");
  const std::string sixteen = storage("FloatStorage", "x", 16);
  const auto expect = [&](const std::string& pickled, const std::string& part) {
    testing::write_bytes(file, with_tensor(pickled));
    expect_error(file, part);
  };
  expect(tensor(sixteen, 13, {4}, {1}), "does not fit its storage");
  expect(tensor(sixteen, 16, {4}, {0}), "does not fit its storage");
  expect(tensor(sixteen, 0, {4}, {6}), "does not fit its storage");
  expect(tensor(sixteen, 0, {4}, {0x7fffffff}), "does not fit its storage");
  expect(tensor(sixteen, 0, {4}, {0xffffffff}), "damaged shape");  // -1
  expect(tensor(sixteen, 0, {4}, {1, 1}), "damaged shape");
  expect(tensor(sixteen, 0xffffffff, {4}, {1}), "damaged");
  expect(tensor(sixteen, 0, {1 << 30, 1 << 30, 1 << 30}, {0, 0, 0}), "needs [4]");
  expect(tensor(storage("FloatStorage", "y", 16), 0, {4}, {1}), "entry 'net/data/y' is missing");
  expect(tensor(storage("FloatStorage", "x", 17), 0, {4}, {1}), "has a storage of 64 bytes");
  expect(tensor(storage("IntStorage", "x", 16), 0, {4}, {1}), "has type 'torch IntStorage'");
  expect(tensor(storage("FloatStorage", "x", 0x7fffffff), 0, {4}, {1}), "has a storage of 64");
  expect("ctorch._utils\n_rebuild_tensor_v2\n" +
             tuple({sixteen, integer(0), tuple({integer(4)}), tuple({integer(1)}), "\x89", "}",
                    "}" + text("neg") + "\x88s"}) +
             "R",
         "is a negated or conjugated view");
  testing::write_bytes(file, with_tensor(tensor(sixteen, 4, {4}, {3})));
  EXPECT_EQ(error_of(file), "no error");
}

TEST(Files, ZipArchivesAreCheckedBeforeUse) {
  const std::string good =
      zip_of(std::vector<ZipEntry>{stored_entry("a/x", "hello"), stored_entry("a/y", "")});
  const frontend::ZipArchive archive(good, "file");
  EXPECT_EQ(archive.content("a/x"), "hello");
  EXPECT_EQ(archive.content("a/y"), "");
  EXPECT_EQ(archive.root(), "a");
  EXPECT_THROW(archive.content("a/z"), Error);
  std::string damaged = good;
  damaged[good.find("hello") + 1] = 'a';
  EXPECT_THROW(frontend::ZipArchive(damaged, "file").content("a/x"), Error);
  EXPECT_THROW(frontend::ZipArchive(damaged, "file").check_contents(), Error);
  EXPECT_THROW(archive.content("a/x", 4), Error);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(frontend::ZipArchive(good.substr(0, size), "file"), Error) << size;
  EXPECT_THROW(
      frontend::ZipArchive(
          zip_of(std::vector<ZipEntry>{stored_entry("a", "1"), stored_entry("a", "2")}), "file"),
      Error);
}

// Truncation at any place and random changes: either an error or, where only bytes that nothing
// reads were hit, a network.
void corrupt(const std::string& good, const std::string& file, int rounds) {
  std::mt19937 random(17);
  int errors = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string bad = good;
    if (round % 3 == 0) {
      bad.resize(random() % good.size());
    } else {
      const size_t changes = round % 3 == 1 ? 1 : 20;
      // Headers lie at both ends of the files.
      for (size_t i = 0; i < changes; ++i) {
        const size_t range = std::min<size_t>(good.size(), 1 + random() % 8192);
        const size_t at = random() % range;
        bad[random() % 2 ? at : good.size() - 1 - at] = static_cast<char>(random());
      }
    }
    testing::write_bytes(file, bad);
    errors += error_of(file) != "no error";
  }
  EXPECT_GT(errors, rounds / 2);
}

TEST(Files, CorruptSafetensors) {
  ScratchFolder folder;
  const std::string file = folder.file("nano.safetensors");
  write_safetensors(file, nano_weights());
  corrupt(testing::read_bytes(file), file, 150);
}

TEST(Files, CorruptStateDict) {
  ScratchFolder folder;
  corrupt(state_dict_of(nano_weights()), folder.file("nano.pth"), 150);
}

// Corruption that keeps every checksum: the pickle itself.
TEST(Files, CorruptPickle) {
  ScratchFolder folder;
  const std::string file = folder.file("net.pth");
  const std::string good =
      dictionary(text("w") + tensor(storage("FloatStorage", "0", 16), 4, {3, 4}, {1, 3}) +
                 text("v") + tensor(storage("FloatStorage", "0", 16), 0, {16}, {1}));
  std::mt19937 random(19);
  for (int round = 0; round < 1000; ++round) {
    std::string bad = good;
    const size_t changes = 1 + random() % 3;
    for (size_t i = 0; i < changes; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    if (round % 5 == 0) bad.resize(random() % bad.size());
    testing::write_bytes(file, checkpoint(bad, {{"net/data/0", std::string(64, 0)}}));
    EXPECT_NE(error_of(file), "no error");  // at best: no known network
  }
}

}  // namespace
}  // namespace mattec
