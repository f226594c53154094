// The .mattec file: exact round trips, one clear error for every kind of damage.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "ir/compare.h"
#include "ir/interpreter.h"
#include "ir/model_file.h"
#include "ir/verify.h"
#include "tests/ir_graphs.h"

namespace mattec::ir {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ModelFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "mattec_model_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name = "net.mattec") const { return folder_ / name; }
  std::string bytes_of(const std::string& file) const {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::string error_of_reading() const {
    try {
      read_model(path());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

// Small enough to damage at every byte: a 4-bit and an 8-bit convolution, per-channel grids.
Graph tiny_graph() {
  test::GraphMaker make(4);
  test::GraphMaker::ConvolutionShape shape;
  shape.output_channels = 3;
  shape.random_pad_value = true;
  const Grid grid{8, false, {0.01F, 0.02F, 0.03F}, {0, 5, 255}};
  const TensorId first = make.conv_to({make.graph.frame}, shape, grid);
  make.graph.ops.back().conv.weight_bits = 4;
  for (int8_t& weight : make.graph.ops.back().conv.quantized_weight)
    weight = static_cast<int8_t>(weight / 16);
  shape.output_channels = 1;
  const TensorId pha = make.conv_to({first}, shape, test::unit_grid());
  make.graph.ops.back().conv.weight_bits = 8;
  make.graph.outputs = {{"pha", pha, Variant::both}};
  return make.graph;
}

void expect_same(const Graph& a, const Graph& b) {
  EXPECT_EQ(first_difference(a, b, 0), "");
  EXPECT_EQ(dump(a), dump(b));
  for (size_t i = 0; i < a.ops.size(); ++i) {
    const Convolution &x = a.ops[i].conv, &y = b.ops[i].conv;
    EXPECT_EQ(x.quantized_weight, y.quantized_weight);
    EXPECT_EQ(x.quantized_bias, y.quantized_bias);
    EXPECT_EQ(x.accumulator_scale, y.accumulator_scale);
    EXPECT_EQ(x.segment_shift, y.segment_shift);
    EXPECT_EQ(x.weight_bits, y.weight_bits);
    EXPECT_EQ(x.pad_value, y.pad_value);
    EXPECT_EQ(a.ops[i].rounding, b.ops[i].rounding);
    EXPECT_EQ(a.ops[i].activation, b.ops[i].activation);
  }
  for (size_t i = 0; i < a.tensors.size(); ++i) EXPECT_TRUE(a.tensors[i].grid == b.tensors[i].grid);
}

TEST_F(ModelFile, RoundTripOfQuantizedGraphs) {
  size_t with4 = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const Graph graph = test::random_graph(seed);
    write_model(graph, path());
    const Graph read = read_model(path());
    expect_same(graph, read);
    write_model(read, path("again"));
    EXPECT_EQ(bytes_of(path()), bytes_of(path("again")));
    for (const Op& op : graph.ops)
      with4 += op.kind == OpKind::conv && op.conv.weight_bits == 4 &&
               op.conv.quantized_weight.size() % 2 == 1;
  }
  EXPECT_GT(with4, 0U);  // an odd number of 4-bit weights was among them
}

TEST_F(ModelFile, RoundTripOfFusedGraphs) {
  Graph graph = test::random_graph(1);
  graph.stage = Stage::fused;
  std::mt19937 random(1);
  for (Tensor& tensor : graph.tensors) tensor.grid.reset();
  for (Op& op : graph.ops) {
    Convolution& conv = op.conv;
    for (int8_t weight : conv.quantized_weight)
      conv.weight.push_back(static_cast<float>(weight) * 0.1F +
                            static_cast<float>(random()) * 1e-12F);
    for (int32_t bias : conv.quantized_bias) conv.bias.push_back(static_cast<float>(bias) / 3);
    conv.quantized_weight.clear();
    conv.quantized_bias.clear();
    conv.accumulator_scale.clear();
    conv.segment_shift.clear();
    conv.weight_bits = 8;
  }
  write_model(graph, path());
  const Graph read = read_model(path());
  expect_same(graph, read);
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    EXPECT_EQ(graph.ops[i].conv.weight, read.ops[i].conv.weight);
    EXPECT_EQ(graph.ops[i].conv.bias, read.ops[i].conv.bias);
  }
}

TEST_F(ModelFile, FourBitWeightsTakeHalfAByte) {
  const Graph graph = tiny_graph();
  const Container container = to_container(graph);
  const Array& packed = container.arrays.at(graph.ops[0].name + ".weight");
  const auto& weights = graph.ops[0].conv.quantized_weight;
  ASSERT_EQ(packed.bytes.size(), 5U);  // nine weights
  EXPECT_EQ(packed.bytes[1] & 15, weights[2] & 15);
  EXPECT_EQ(packed.bytes[1] >> 4, weights[3] & 15);
}

TEST_F(ModelFile, EveryTruncationIsAnError) {
  write_model(tiny_graph(), path());
  for (size_t size = fs::file_size(path()); size-- > 0;) {
    fs::resize_file(path(), size);
    const std::string error = error_of_reading();
    ASSERT_EQ(error.find(path() + ": "), 0U) << "cut to " << size << ": " << error;
  }
}

// The checksum sees what the structure does not.
TEST_F(ModelFile, EveryBitFlipIsAnError) {
  write_model(tiny_graph(), path());
  const std::string whole = bytes_of(path());
  std::fstream file(path(), std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](size_t at, int value) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(value)).flush();
  };
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    const size_t at = bit / 8;
    put(at, whole[at] ^ (1 << (bit % 8)));
    const std::string error = error_of_reading();
    ASSERT_EQ(error.find(path() + ": "), 0U) << "bit " << bit % 8 << " of byte " << at;
    ASSERT_EQ(error.find('\n'), std::string::npos) << error;
    put(at, whole[at]);
  }
}

// Damage that a checksum would hide from the layers behind it.
TEST_F(ModelFile, HostileContentsAreErrorsOrSound) {
  const json hostile[] = {nullptr,
                          true,
                          -1,
                          0,
                          1,
                          7,
                          255,
                          2147483647,
                          -2147483648LL,
                          4294967297LL,
                          1e300,
                          0.5,
                          "",
                          "x",
                          "frame",
                          json::array(),
                          json::object(),
                          json::array({1, 2}),
                          "conv",
                          "concat",
                          "quantized",
                          "fused"};
  std::mt19937 random(1);
  const auto pick = [&](size_t count) { return random() % count; };
  size_t accepted = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    const Graph graph = round % 2 == 0 ? tiny_graph() : test::random_graph(random() % 8);
    Container container = to_container(graph);
    if (pick(4) == 0) {
      auto array = std::next(container.arrays.begin(),
                             static_cast<ptrdiff_t>(pick(container.arrays.size())));
      Array& damaged = array->second;
      switch (pick(5)) {
        case 0:
          container.arrays.erase(array);
          break;
        case 1:
          damaged.type = pick(2) == 0 ? "F32" : "I32";
          break;
        case 2:
          damaged.bytes.resize(pick(2 * damaged.bytes.size() + 1));
          break;
        case 3:
          damaged.shape = {static_cast<int64_t>(pick(100))};
          break;
        default:
          if (!damaged.bytes.empty())
            damaged.bytes[pick(damaged.bytes.size())] = static_cast<uint8_t>(random());
      }
    } else {
      json structure = json::parse(container.metadata.at("graph"));
      json* node = &structure;
      while (node->is_structured() && !node->empty() && (node == &structure || pick(5) != 0)) {
        auto child = node->begin();
        std::advance(child, static_cast<ptrdiff_t>(pick(node->size())));
        node = &*child;
      }
      *node = hostile[pick(std::size(hostile))];
      container.metadata["graph"] = structure.dump();
    }
    try {
      const Graph read = from_container(container, "net.mattec");
      ++accepted;
      if (read.stage != Stage::quantized) continue;
      Interpreter interpreter(read, {5, 7});  // what passed must also run
      interpreter.step(std::vector<uint8_t>(105, 99).data());
    } catch (const Error& error) {
      ++refused;
      ASSERT_NE(std::string(error.what()), "");
    }
  }
  EXPECT_GT(accepted, 50U);
  EXPECT_GT(refused, 1000U);
}

struct Damage {
  const char* expected;
  std::function<void(Container&, json&)> apply;
};

TEST_F(ModelFile, ErrorsNameThePlace) {
  const Graph graph = tiny_graph();
  const std::string op = graph.ops[0].name;
  const Damage list[] = {
      {"array conv.0.bias: is missing", [](Container& c, json&) { c.arrays.erase("conv.0.bias"); }},
      {"array conv.0.scale: is missing",
       [](Container& c, json&) { c.arrays.erase("conv.0.scale"); }},
      {"array stray: belongs to nothing",
       [](Container& c, json&) { c.arrays["stray"] = Array::of(std::vector<float>{1}, {1}); }},
      {"array conv.0.bias: its type is F32 instead of I32",
       [](Container& c, json&) { c.arrays["conv.0.bias"].type = "F32"; }},
      {"array conv.0.weight: its type is I8 instead of U8",
       [](Container& c, json&) { c.arrays["conv.0.weight"].type = "I8"; }},
      {"array conv.0.weight: has not the size",
       [](Container& c, json&) { c.arrays["conv.0.weight"].bytes.pop_back(); }},
      {"array conv.1.weight: has not the shape",
       [](Container& c, json&) {
         c.arrays["conv.1.weight"].shape = {3, 1, 1, 1};
       }},
      {"operation conv.0: accumulator scales must be normal",
       [](Container& c, json&) {
         c.arrays["conv.0.accumulator_scale"] =
             Array::of(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN(), 1}, {3});
       }},
      {"tensor conv.0: scales must be positive",
       [](Container& c, json&) {
         c.arrays["conv.0.scale"] = Array::of(std::vector<float>{1, -1, 1}, {3});
       }},
      {"graph: is neither fused nor quantized",
       [](Container&, json& j) { j["stage"] = "imported"; }},
      {"graph: stage finished is unknown", [](Container&, json& j) { j["stage"] = "finished"; }},
      {"graph: ops is not a list", [](Container&, json& j) { j["ops"] = 3; }},
      {"graph: tensor fram does not exist", [](Container&, json& j) { j["frame"] = "fram"; }},
      {"operation conv.1: tensor conv.9 does not exist",
       [](Container&, json& j) { j["ops"][1]["inputs"][0] = "conv.9"; }},
      {"operation conv.1: kernel is not a 32-bit integer",
       [](Container&, json& j) { j["ops"][1]["conv"]["kernel"] = 4294967297LL; }},
      {"operation conv.1: kernel is missing",
       [](Container&, json& j) { j["ops"][1]["conv"].erase("kernel"); }},
      {"operation conv.1: pad_value is not a number of 32 bits",
       [](Container&, json& j) { j["ops"][1]["conv"]["pad_value"][0] = 1e300; }},
      {"operation conv.1: kind konv is unknown",
       [](Container&, json& j) { j["ops"][1]["kind"] = "konv"; }},
      {"tensor conv.1: channels is not a 32-bit integer",
       [](Container&, json& j) { j["tensors"][2]["channels"] = 1.5; }},
      {"tensor frame: its name is not unique",
       [](Container&, json& j) { j["tensors"][2]["name"] = "frame"; }},
      {"grid of tensor frame: signed is neither",
       [](Container&, json& j) { j["tensors"][0]["grid"]["signed"] = 0; }},
      {"output pha: variant", [](Container&, json& j) { j["outputs"][0]["variant"] = "either"; }},
      {"operation 0: is not an object", [](Container&, json& j) { j["ops"][0] = 1; }},
      {"network */ int main(void){} /*: its name must be",
       [](Container&, json& j) { j["name"] = "*/ int main(void){} /*"; }},
  };
  for (const Damage& damage : list) {
    Container container = to_container(graph);
    json structure = json::parse(container.metadata.at("graph"));
    damage.apply(container, structure);
    container.metadata["graph"] = structure.dump();
    try {
      from_container(container, "net.mattec");
      ADD_FAILURE() << "accepted: " << damage.expected;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("net.mattec: " + std::string(damage.expected)), 0U)
          << error.what();
    }
  }
}

TEST_F(ModelFile, GraphsBeyondAnyNetworkAreNotParsed) {
  Container container = to_container(tiny_graph());
  container.metadata["graph"] = "{\"name\":" + std::string(1 << 20, '[');
  try {
    from_container(container, "net.mattec");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("net.mattec: graph: is nested deeper than 32"), 0U)
        << error.what();
  }
}

TEST_F(ModelFile, ForeignFiles) {
  Container container = to_container(tiny_graph());
  const auto error = [&] {
    write_safetensors(container, path());
    return error_of_reading();
  };
  EXPECT_EQ(error(), "");
  container.metadata["mattec"] = "2";
  EXPECT_NE(error().find("it has format 2, this mattec reads format 1"), std::string::npos);
  container.metadata.erase("mattec");
  EXPECT_NE(error().find("no mattec model"), std::string::npos);
  container = to_container(tiny_graph());
  container.metadata.erase("checksum");
  EXPECT_NE(error().find("checksum"), std::string::npos);
  fs::resize_file(path(), 0);
  EXPECT_NE(error_of_reading().find("damaged"), std::string::npos);
}

TEST_F(ModelFile, RefusesToWriteUnsoundGraphs) {
  Graph graph = tiny_graph();
  graph.ops[0].conv.quantized_bias.pop_back();
  EXPECT_THROW(write_model(graph, path()), Error);
  graph = tiny_graph();
  graph.name = "\xff";
  EXPECT_THROW(write_model(graph, path()), Error);
  graph = tiny_graph();
  graph.stage = Stage::imported;
  EXPECT_THROW(write_model(graph, path()), Error);
  EXPECT_TRUE(fs::is_empty(folder_));
}

}  // namespace
}  // namespace mattec::ir
