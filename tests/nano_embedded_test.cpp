// The network inside the binary: it is the committed file, and it mattes clips it has never seen.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "frontend/read_network.h"
#include "ir/compare.h"
#include "nano/embedded.h"

namespace mattec::nano {
namespace {

const std::string weights_path = std::string(MATTEC_SOURCE_DIR) + "/nano/nano.safetensors";

TEST(EmbeddedNetwork, IsTheCommittedFile) {
  std::ifstream file(weights_path, std::ios::binary);
  const std::vector<unsigned char> bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_LT(bytes.size(), 1u << 20);
  EXPECT_EQ(bytes, std::vector<unsigned char>(weight_file, weight_file + weight_file_size));
}

TEST(EmbeddedNetwork, IsWhatTheReaderMakesOfTheFile) {
  const ir::Graph embedded = nano_network(), read = frontend::read_network(weights_path);
  EXPECT_EQ(ir::first_difference(embedded, read, 0), "");
}

}  // namespace
}  // namespace mattec::nano
