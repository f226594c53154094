// Network files of every format: what is read, what is refused, and that corruption of any kind
// ends in one clear error.
#include <gtest/gtest.h>
#include <torch/script.h>
#include <zlib.h>

#include <random>

#include "base/error.h"
#include "frontend/read_network.h"
#include "frontend/zip.h"
#include "ir/compare.h"
#include "ir/safetensors.h"
#include "tests/frontend_networks.h"

namespace mattec {
namespace {

using testing::ScratchFolder;

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

std::string little_endian(uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i, value >>= 8) bytes += static_cast<char>(value & 255);
  return bytes;
}

// A zip archive of stored entries with correct checksums (APPNOTE.TXT, see frontend/zip.cpp).
std::string zip_of(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string file, directory;
  for (const auto& [name, content] : entries) {
    const auto checksum =
        crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
    const std::string sizes = little_endian(checksum, 4) + little_endian(content.size(), 4) +
                              little_endian(content.size(), 4) + little_endian(name.size(), 2) +
                              little_endian(0, 2);
    directory.append("PK\1\2").append(12, '\0').append(sizes).append(10, '\0');
    directory.append(little_endian(file.size(), 4)).append(name);
    file.append("PK\3\4").append(10, '\0').append(sizes).append(name).append(content);
  }
  const std::string end = "PK\5\6" + little_endian(0, 4) + little_endian(entries.size(), 2) +
                          little_endian(entries.size(), 2) + little_endian(directory.size(), 4) +
                          little_endian(file.size(), 4) + little_endian(0, 2);
  return file + directory + end;
}

// Pickle instructions as PyTorch writes them.
std::string text(const std::string& value) { return "X" + little_endian(value.size(), 4) + value; }
std::string integer(size_t value) { return "J" + little_endian(value, 4); }
std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
std::string storage(const std::string& type, const std::string& key, size_t count) {
  return tuple(
             {text("storage"), "ctorch\n" + type + "\n", text(key), text("cpu"), integer(count)}) +
         "Q";
}
std::string tensor(const std::string& storage, size_t offset, const std::vector<size_t>& size,
                   const std::vector<size_t>& stride) {
  std::vector<std::string> sizes, strides;
  for (size_t value : size) sizes.push_back(integer(value));
  for (size_t value : stride) strides.push_back(integer(value));
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         tuple({storage, integer(offset), tuple(sizes), tuple(strides), "\x89",
                "ccollections\nOrderedDict\n)R"}) +
         "R";
}
std::string dictionary(const std::string& items) {
  return "\x80\x02"
         "ccollections\nOrderedDict\n)R(" +
         items + "u.";
}

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// A state dict in PyTorch's format.
std::string state_dict_of(const frontend::Weights& weights) {
  std::vector<std::pair<std::string, std::string>> entries = {{"net/data.pkl", ""}};
  std::string items;
  for (const auto& [name, array] : weights) {
    const std::string key = std::to_string(entries.size());
    std::vector<size_t> size, stride(array.shape.size(), 1);
    for (int64_t extent : array.shape) size.push_back(static_cast<size_t>(extent));
    for (size_t d = size.size(); d-- > 1;) stride[d - 1] = stride[d] * size[d];
    items +=
        text(name) + tensor(storage("FloatStorage", key, array.values.size()), 0, size, stride);
    entries.push_back({"net/data/" + key, bytes_of(array.values)});
  }
  entries[0].second = dictionary(items);
  entries.push_back({"net/version", "3\n"});
  return zip_of(entries);
}

std::string one_tensor(const std::string& pickled, const std::string& data = std::string(64, 0)) {
  return zip_of({{"a/data.pkl", dictionary(text("w") + pickled)}, {"a/data/0", data}});
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
  for (const std::string& content :
       {std::string(), std::string("PK"), std::string(5000, 'x'), std::string("\x80\x02}q.", 5)}) {
    testing::write_bytes(file, content);
    EXPECT_NE(error_of(file), "no error");
  }
  testing::write_bytes(file, zip_of({{"archive/readme", "hello"}}));
  expect_error(file, "is no network file");
  frontend::Weights strangers = {{"conv.weight", {{1, 1}, {1.0F}}}};
  write_safetensors(file, strangers);
  expect_error(file, "no known network");
}

TEST(Files, PickledCodeIsRefusedByName) {
  ScratchFolder folder;
  const std::string file = folder.file("evil.pth");
  const auto expect = [&](const std::string& pickled, const std::string& part) {
    testing::write_bytes(file, one_tensor(pickled));
    expect_error(file, part);
  };
  expect("cos\nsystem\n" + tuple({text("true")}) + "R", "refers to 'os system'");
  expect("ctorch\nload\n)R", "refers to 'torch load'");
  expect("ctorch._utils\n_rebuild_tensor_v2\n)R", "damaged");
  expect("c__builtin__\neval\n", "'__builtin__ eval'");
  expect("\x93", "instruction 147");
  expect("ctorch\nFloatStorage\n)R", "calls 'torch FloatStorage'");
  expect(integer(7), "'w' is no tensor");
}

TEST(Files, TensorsBeyondTheirStorageAreRefused) {
  ScratchFolder folder;
  const std::string file = folder.file("net.pth");
  const std::string sixteen = storage("FloatStorage", "0", 16);
  const auto expect = [&](const std::string& pickled, const std::string& part) {
    testing::write_bytes(file, one_tensor(pickled));
    expect_error(file, part);
  };
  expect(tensor(sixteen, 0, {17}, {1}), "does not fit its storage");
  expect(tensor(sixteen, 1, {16}, {1}), "does not fit its storage");
  expect(tensor(sixteen, 0, {4, 4}, {5, 1}), "does not fit its storage");
  expect(tensor(sixteen, 0, {1 << 30, 1 << 30, 1 << 30}, {0, 0, 0}), "does not fit its storage");
  expect(tensor(sixteen, 0, {2, 0x7fffffff}, {0x7fffffff, 1}), "does not fit its storage");
  expect(tensor(sixteen, 0, {0xffffffff}, {1}), "damaged shape");  // -1
  expect(tensor(sixteen, 0, {4}, {1, 1}), "damaged shape");
  expect(tensor(storage("FloatStorage", "1", 16), 0, {4}, {1}), "entry 'a/data/1' is missing");
  // Sound, so the error is another: no network has an array "w".
  expect(tensor(sixteen, 4, {3, 4}, {1, 3}), "no known network");
}

TEST(Files, ZipArchivesAreCheckedBeforeUse) {
  const std::string good = zip_of({{"a/x", "hello"}, {"a/y", ""}});
  const frontend::ZipArchive archive(good, "file");
  EXPECT_EQ(archive.content("a/x"), "hello");
  EXPECT_EQ(archive.content("a/y"), "");
  EXPECT_EQ(archive.root(), "a");
  EXPECT_THROW(archive.content("a/z"), Error);
  std::string damaged = good;
  damaged[good.find("hello") + 1] = 'a';
  EXPECT_THROW(frontend::ZipArchive(damaged, "file"), Error);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(frontend::ZipArchive(good.substr(0, size), "file"), Error) << size;
  EXPECT_THROW(frontend::ZipArchive(zip_of({{"a", "1"}, {"a", "2"}}), "file"), Error);
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
    testing::write_bytes(file, zip_of({{"a/data.pkl", bad}, {"a/data/0", std::string(64, 0)}}));
    EXPECT_NE(error_of(file), "no error");  // at best: no known network
  }
}

}  // namespace
}  // namespace mattec
