// The container: what is written comes back, damaged files give one clear error, failed writes
// leave nothing.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/error.h"
#include "ir/safetensors.h"

namespace mattec::ir {
namespace {

namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "mattec_safetensors_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name = "a.safetensors") const { return folder_ / name; }
  std::string put(const std::string& bytes) const {
    std::ofstream(path(), std::ios::binary) << bytes;
    return path();
  }
  // A file whose header length fits.
  std::string put(const std::string& header, const std::string& data) const {
    const uint64_t length = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return put(bytes + header + data);
  }
  std::string bytes_of(const std::string& file) const {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::string error_of_reading(const std::string& file) const {
    try {
      read_safetensors(file);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  size_t files() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& each : fs::directory_iterator(folder_)) ++count;
    return count;
  }

  fs::path folder_;
};

Container example() {
  Container container;
  container.metadata = {{"format", "test"}, {"text", "line\n\"quoted\" \xc3\xa9"}};
  container.arrays["c.bytes"] = Array::of(std::vector<int8_t>{-128, 0, 127}, {3});
  container.arrays["b.floats"] = Array::of(std::vector<float>{1.5F, -0.0F, 3e38F, 1e-45F}, {2, 2});
  container.arrays["a.integers"] =
      Array::of(std::vector<int32_t>{-2147483647 - 1, 2147483647}, {2, 1});
  container.arrays["empty"] = Array::of(std::vector<float>{}, {0, 7});
  container.arrays["scalar"] = Array::of(std::vector<float>{2.5F}, {});
  return container;
}

// Small files and large ones that would cost the parser gigabytes.
TEST_F(Safetensors, HeadersBeyondAnyNetworkAreNotParsed) {
  const auto expect = [&](const std::string& header, const std::string& part) {
    const std::string error = error_of_reading(put(header, ""));
    EXPECT_NE(error.find(part), std::string::npos) << error;
    EXPECT_LT(error.size(), 400U);
  };
  expect("{\"a\":" + std::string(50 << 20, '['), "header: has 52428805 bytes, more than 16777216");
  expect("{\"a\":" + std::string(1 << 20, '['), "nested deeper than 32 levels");
  expect("{\"a\":[" + std::string(1 << 22, ',') + "]}", "more than 1048576 values");
  expect("{\"" + std::string(1 << 20, 'x') + "\":1}", "needs dtype");
  expect("{\"a[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\":1}", "needs dtype");  // in a text
}

TEST_F(Safetensors, OnlyRegularFilesAreRead) {
  EXPECT_NE(error_of_reading("/dev/zero").find("is a device, not a file"), std::string::npos);
  EXPECT_NE(error_of_reading(folder_).find("is a folder, not a file"), std::string::npos);
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_NE(error_of_reading(path("pipe")).find("is a pipe, not a file"), std::string::npos);
}

TEST_F(Safetensors, RoundTrip) {
  const Container written = example();
  write_safetensors(written, path());
  const Container read = read_safetensors(path());
  EXPECT_EQ(read.metadata, written.metadata);
  ASSERT_EQ(read.arrays.size(), written.arrays.size());
  for (const auto& [name, array] : written.arrays) {
    EXPECT_EQ(read.arrays.at(name).type, array.type);
    EXPECT_EQ(read.arrays.at(name).shape, array.shape);
    EXPECT_EQ(read.arrays.at(name).bytes, array.bytes);
  }
  EXPECT_EQ(read.arrays.at("a.integers").integers("x")[0], -2147483647 - 1);
  EXPECT_EQ(read.arrays.at("b.floats").floats("x")[2], 3e38F);
  EXPECT_EQ(read.arrays.at("c.bytes").bytes_signed("x"), (std::vector<int8_t>{-128, 0, 127}));
  EXPECT_EQ(files(), 1U);
}

TEST_F(Safetensors, SameContentSameBytesAndAligned) {
  write_safetensors(example(), path("a"));
  write_safetensors(example(), path("b"));
  const std::string bytes = bytes_of(path("a"));
  EXPECT_EQ(bytes, bytes_of(path("b")));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  // Floats and integers come before the three bytes that would misalign them.
  EXPECT_EQ(bytes.substr(bytes.size() - 3), std::string("\x80\x00\x7f", 3));
}

TEST_F(Safetensors, EmptyContainer) {
  write_safetensors({}, path());
  EXPECT_TRUE(read_safetensors(path()).arrays.empty());
}

TEST_F(Safetensors, WrongTypeNamesThePlace) {
  try {
    example().arrays.at("c.bytes").floats("net.mattec: array c.bytes");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "net.mattec: array c.bytes: its type is I8 instead of F32");
  }
}

TEST_F(Safetensors, EveryTruncationIsAnError) {
  write_safetensors(example(), path());
  EXPECT_NE(error_of_reading(put(bytes_of(path()) + "x")), "");
  for (size_t size = fs::file_size(path()) - 1; size-- > 0;) {
    fs::resize_file(path(), size);
    const std::string error = error_of_reading(path());
    ASSERT_EQ(error.find(path() + ": "), 0U) << "cut to " << size << " bytes: " << error;
  }
}

TEST_F(Safetensors, BitFlipsNeverCrash) {
  write_safetensors(example(), path());
  const std::string whole = bytes_of(path());
  std::fstream file(path(), std::ios::binary | std::ios::in | std::ios::out);
  const auto put_byte = [&](size_t at, int value) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(value)).flush();
  };
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    put_byte(bit / 8, whole[bit / 8] ^ (1 << (bit % 8)));
    const std::string error = error_of_reading(path());  // an Error, or other values
    ASSERT_TRUE(error.empty() || error.find(path() + ": ") == 0) << error;
    put_byte(bit / 8, whole[bit / 8]);
  }
}

TEST_F(Safetensors, HostileHeaders) {
  const char* const headers[] = {
      "",
      "[]",
      "{",
      "{}x",
      "{\"a\":1}",
      "{\"a\":{}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}",
      // 2^62 elements of 4 bytes: the product wraps to 0
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648,4],\"data_offsets\":[0,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[18446744073709551612,4]}}",
      // the same bytes twice
      ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"),
      "{\"__metadata__\":{\"a\":1},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"__metadata__\":[],\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
  };
  for (const char* header : headers)
    EXPECT_EQ(error_of_reading(put(header, "abcd")).find(path() + ": "), 0U) << header;
  const std::string deep(100000, '[');
  EXPECT_NE(error_of_reading(put("{\"a\":" + deep, "abcd")), "");
  EXPECT_NE(error_of_reading(put(std::string("{}\0 ", 4), "")), "");
  EXPECT_NE(error_of_reading(put(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10))), "");
  EXPECT_NE(error_of_reading(put(std::string("\xf8\xff\xff\xff\xff\xff\xff\xff{}", 10))), "");
}

TEST_F(Safetensors, UnreadablePaths) {
  EXPECT_NE(error_of_reading(path("missing")).find("cannot be opened"), std::string::npos);
  EXPECT_NE(error_of_reading(folder_.string()).find("is a folder"), std::string::npos);
}

}  // namespace
}  // namespace mattec::ir
