// Checkpoints as training scripts leave them: wrapped, prefixed, with optimizers beside them; and
// hostile ones, which cost neither time nor memory.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/types.h>

#include <chrono>
#include <cmath>
#include <csignal>

#include "base/error.h"
#include "base/interrupt.h"
#include "frontend/pickle.h"
#include "frontend/read_network.h"
#include "frontend/state_dict.h"
#include "ir/compare.h"
#include "ir/safetensors.h"
#include "tests/frontend_networks.h"
#include "tests/pickles.h"

namespace mattec {
namespace {

using namespace testing;  // NOLINT: what makes the files

frontend::Weights nano_weights(uint64_t seed = 11) {
  return testing::random_weights(frontend::nano(), seed);
}

class Checkpoint : public ::testing::Test {
 protected:
  std::string error_of(const std::string& bytes) const {
    write_bytes(file_, bytes);
    try {
      frontend::read_network(file_);
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.rfind(file_ + ": ", 0), 0U) << message;
      EXPECT_EQ(message.find(file_, 1), std::string::npos) << message;
      return message;
    }
    return "no error";
  }
  void expect_error(const std::string& bytes, const std::string& part) const {
    const std::string error = error_of(bytes);
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
  void expect_network(const std::string& bytes, const frontend::Weights& weights) const {
    write_bytes(file_, bytes);
    const ir::Graph expected = frontend::build_network(frontend::nano(), weights);
    EXPECT_EQ(ir::first_difference(expected, frontend::read_network(file_), 0), "");
  }

  ScratchFolder folder_;
  std::string file_ = folder_.file("net.pth");
};

TEST_F(Checkpoint, PrefixesAreTakenOff) {
  const frontend::Weights weights = nano_weights();
  for (const char* prefix : {"module.", "model.", "module.model.", "_orig_mod.module."}) {
    StateDict made = state_dict(weights, prefix);
    // A counter of an averaging wrapper has no prefix.
    made.items += text("n_averaged") + tensor(storage("LongStorage", "n", 1), 0, {}, {});
    expect_network(checkpoint(dictionary(made.items), made.entries), weights);
  }
  StateDict made = state_dict(weights, "other.");
  expect_error(checkpoint(dictionary(made.items), made.entries), "no known network");
}

TEST_F(Checkpoint, SafetensorsPrefixesAreTakenOff) {
  ir::Container container;
  for (const auto& [name, array] : nano_weights())
    container.arrays["module.model." + name] = ir::Array::of(array.values, array.shape);
  container.arrays["n_averaged"] = ir::Array::of(std::vector<int32_t>{1}, {});
  ir::write_safetensors(container, file_);
  const ir::Graph expected = frontend::build_network(frontend::nano(), nano_weights());
  EXPECT_EQ(ir::first_difference(expected, frontend::read_network(file_), 0), "");
}

// What stands beside the network says nothing, whatever it is.
TEST_F(Checkpoint, WrappedBesideOptimizers) {
  const frontend::Weights weights = nano_weights();
  StateDict made = state_dict(weights, "module.");
  const std::string beside =
      text("epoch") + integer(12) + text("best") + std::string("G\0\0\0\0\0\0\0\0", 9) +
      text("loss") + "N" + text("history") + "](" + integer(1) + "F1.5\ne" + text("name") +
      text("x") + text("optimizer") +
      nested(text("state") + "}" + integer(0) + nested(text("step") + integer(1)) + "s" +
             text("param_groups") + "]}" + text("lr") + "F0.1\nsa") +
      text("args") + "cargparse\nNamespace\n)R}" + text("lr") + "N" + "sb" + text("scaler") +
      "cnumpy.core.multiarray\nscalar\n" + tuple({text("f8"), "C\x02zz"}) + "R" + text("seed") +
      std::string("\x8a\x0a", 2) + std::string(10, '\x7f');
  for (const char* name : {"state_dict", "model", "params", "anything"})
    expect_network(checkpoint(dictionary(beside + text(name) + nested(made.items)), made.entries),
                   weights);
  expect_network(checkpoint(dictionary(beside + text("a") + nested(text("b") + nested(made.items))),
                            made.entries),
                 weights);
}

TEST_F(Checkpoint, TheFirstByDocumentedOrder) {
  const frontend::Weights plain = nano_weights(1), averaged = nano_weights(2);
  StateDict model = state_dict(plain), ema = state_dict(averaged, "module.");
  std::vector<std::pair<std::string, std::string>> entries = model.entries;
  entries.insert(entries.end(), ema.entries.begin(), ema.entries.end());
  const auto both = [&](const std::string& a, const std::string& b) {
    return checkpoint(dictionary(text(a) + nested(ema.items) + text(b) + nested(model.items)),
                      entries);
  };
  for (const char* name : {"state_dict", "model_state_dict", "model", "params"}) {
    ::testing::internal::CaptureStderr();
    expect_network(both("ema", name), plain);
    const std::string note = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(note.find(std::string("is read from '") + name + "', not from 'ema'"),
              std::string::npos)
        << note;
  }
  expect_network(both("a_first", "b_second"), averaged);
  expect_network(both("zzz", "ema"), plain);
}

// Every instruction of protocols 4 and 5 that pickle writes for such an object.
TEST_F(Checkpoint, NewerProtocols) {
  const frontend::Weights weights = nano_weights();
  StateDict made = state_dict(weights);
  std::string pickle = "\x80\x05\x95" + little_endian(made.items.size(), 8);
  const auto brief = [](const std::string& word) {
    return "\x8c" + little_endian(word.size(), 1) + word;
  };
  pickle += "}\x94(" + brief("set") + "\x8f\x94(" + integer(1) + "\x90" + brief("frozen") + "(" +
            integer(1) + "\x91\x94" + brief("bytes") + "\x96" + little_endian(3, 8) + "abc" +
            "\x8d" + little_endian(3, 8) + "key" + "\x8e" + little_endian(2, 8) + "xy" +
            brief("object") + brief("m") + "\x94" + brief("C") + "\x94\x93)}\x92\x94}" +
            brief("a") + "NsB" + little_endian(1, 4) + "z" + "0b" + brief("new") +
            brief("collections") + brief("OrderedDict") + "\x93)\x81\x94" + brief("model") + "}(" +
            made.items + "u" + brief("twice") + "K\x01" + "20" + brief("marked") +
            "K\x01(K\x02K\x03" + "1" + brief("long") + "\x8b" + little_endian(2, 4) + "\xff\xff" +
            "u.";
  expect_network(checkpoint(pickle, made.entries), weights);
}

TEST_F(Checkpoint, TextInstructionsAndDamage) {
  const auto read = [](const std::string& pickle) {
    frontend::PickleReader reader(pickle, "file");
    const frontend::PickleValue& value = reader.read();
    return value.kind == frontend::PickleValue::Kind::integer ? value.integer : -1;
  };
  EXPECT_EQ(read("I42\n."), 42);
  EXPECT_EQ(read("I01\n."), 1);
  EXPECT_EQ(read("L-7L\n."), -7);
  EXPECT_EQ(read("L123456789012345678901234567890L\n."), -1);
  EXPECT_EQ(read("(I1\nI2\nl0I3\n."), 3);
  EXPECT_EQ(read("(S'a'\nVb\nd0I4\np1\n0g1\n."), 4);
  for (const std::string& damaged :
       {std::string("."), std::string("a."), std::string("Ia\n."), std::string("]]s."),
        std::string("X\xff\xff\xff\xff."), std::string("h\x01."), std::string("S'.\n."),
        std::string("\x80\x06N."), std::string("\x98N."),
        std::string("K\x01K\x02"
                    "a."),
        std::string("K\x01}b."), std::string("(u."), std::string("u."), std::string("N")})
    EXPECT_THROW(read(damaged), Error) << damaged;
}

// Deep nesting, values that contain themselves and small pickles of many values.
TEST_F(Checkpoint, HostilePicklesEndSoon) {
  const auto start = std::chrono::steady_clock::now();
  std::string deep = "\x80\x02N";
  for (int i = 0; i < 1 << 19; ++i) deep += "\x85";
  expect_error(checkpoint(deep + ".", {}), "holds no dictionary");
  expect_error(
      checkpoint(
          "\x80\x02}q" + std::string("\0", 1) + text("a") + "h" + std::string("\0", 1) + "s.", {}),
      "no known network");
  expect_error(
      checkpoint("\x80\x02]q" + std::string("\0", 1) + "h" + std::string("\0", 1) + "a.", {}),
      "holds no dictionary");
  for (const char* value : {"N", "(", "}", ")", "]", "(t", "N\x94"}) {
    std::string many;
    while (many.size() < size_t{15} << 20) many += value;
    expect_error(checkpoint(many, {}), "its pickle");
  }
  expect_error(checkpoint(std::string(17 << 20, 'N'), {}), "is too large");
  // 14 s at -O0 with sanitizers (one Xeon core); quadratic time would be hours.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

// One deflated storage of 1000 MiB that 2000 tensors share.
TEST_F(Checkpoint, HostileStoragesAreNotUnpacked) {
  frontend::Weights weights = nano_weights();
  constexpr uint64_t elements = uint64_t{250} << 20;
  std::string items;
  for (const auto& [name, array] : weights) {
    std::vector<size_t> size(array.shape.begin(), array.shape.end());
    items += text(name) + tensor(storage("FloatStorage", "0", elements), 0, size,
                                 std::vector<size_t>(size.size(), 1));
  }
  for (int i = 0; i < 2000; ++i)
    items += text("other." + std::to_string(i)) +
             tensor(storage("FloatStorage", "0", elements), 0, {elements}, {1});
  const ZipEntry pickle = stored_entry("net/data.pkl", dictionary(items));
  ZipEntry zeros = deflated_zeros("net/data/0", elements * 4);
  const std::string file = zip_of({pickle, zeros});
  EXPECT_LT(file.size(), size_t{2} << 20);
  const auto start = std::chrono::steady_clock::now();
  expect_error(file, "unpacks to more than a network can need");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  // The directory lies about the size: unpacking ends where the stated bytes do.
  zeros.size = 4000;
  expect_error(zip_of({pickle, zeros}), "has a storage of 4000 bytes");
  std::string script = zip_of({stored_entry("net/constants.pkl", "N."),
                               deflated_zeros("net/data/0", uint64_t{1000} << 20)});
  expect_error(script, "too large for a network");
}

// A signal ends each of the long loops.
TEST_F(Checkpoint, InterruptsEndReading) {
  const std::string bytes = state_dict_of(nano_weights());
  const frontend::ZipArchive archive(bytes, "file");
  const std::string none = "N.";
  frontend::PickleReader pickle(none, "file");
  constexpr double grace_seconds = 1000;  // nothing ends this process from outside
  install_signal_handlers(grace_seconds);
  std::raise(SIGTERM);
  EXPECT_THROW(frontend::ZipArchive(bytes, "file"), Interrupted);
  EXPECT_THROW(archive.content("net/version"), Interrupted);
  EXPECT_THROW(archive.check_contents(), Interrupted);
  EXPECT_THROW(pickle.read(), Interrupted);
  EXPECT_THROW(frontend::read_state_dict(archive), Interrupted);
  forget_interrupt();
  EXPECT_EQ(archive.content("net/version"), "3\n");
}

// What the network does not need is not read: damage there does no harm.
TEST_F(Checkpoint, OnlyNeededTensorsAreRead) {
  const frontend::Weights weights = nano_weights();
  StateDict made = state_dict(weights);
  const std::string items = made.items + text("head.weight") +
                            tensor(storage("FloatStorage", "none", 4), 0, {4}, {1}) +
                            text("quantizer") + "cm\nf\n)R";
  expect_network(checkpoint(dictionary(items), made.entries), weights);
}

TEST_F(Checkpoint, ResNet50IsNamed) {
  frontend::Weights weights = {{"backbone.conv1.weight", {{64, 3, 7, 7}, {}}},
                               {"backbone.layer1.0.conv1.weight", {{64, 64, 1, 1}, {}}},
                               {"aspp.aspp1.0.weight", {{256, 2048, 1, 1}, {}}},
                               {"project_mat.conv.weight", {{4, 16, 1, 1}, {}}}};
  for (auto& [name, array] : weights) {
    int64_t count = 1;
    for (int64_t extent : array.shape) count *= extent;
    array.values.assign(static_cast<size_t>(count), 0.5F);
  }
  const std::string expected = "ResNet50 (rvm_resnet50), whose encoder is not supported";
  expect_error(state_dict_of(weights), expected);
  StateDict made = state_dict(weights, "module.");
  expect_error(checkpoint(dictionary(text("model") + nested(made.items)), made.entries), expected);
  EXPECT_EQ(error_of(state_dict_of(weights)).find("torch.jit"), std::string::npos);
  ir::Container container;
  for (const auto& [name, array] : weights)
    container.arrays[name] = ir::Array::of(array.values, array.shape);
  const std::vector<uint8_t> bytes = ir::safetensors_bytes(container, "file");
  expect_error({bytes.begin(), bytes.end()}, expected);
}

// F16, BF16 and F64 hold these values exactly.
TEST_F(Checkpoint, SafetensorsOfOtherTypes) {
  frontend::Weights weights = nano_weights();
  for (auto& [name, array] : weights)
    for (float& value : array.values) value = std::nearbyint(value * 16) / 16;
  const ir::Graph expected = frontend::build_network(frontend::nano(), weights);
  const auto bytes_of_type = [](const std::string& type, float value) {
    const torch::Dtype dtype = type == "F16"    ? torch::kHalf
                               : type == "BF16" ? torch::kBFloat16
                                                : torch::kDouble;
    const torch::Tensor one = torch::tensor(value).to(dtype);
    const auto* first = static_cast<const uint8_t*>(one.data_ptr());
    return std::vector<uint8_t>(first, first + one.element_size());
  };
  for (const std::string type : {"F16", "BF16", "F64"}) {
    ir::Container container;
    for (const auto& [name, array] : weights) {
      ir::Array& made = container.arrays[name];
      made.type = type;
      made.shape = array.shape;
      for (float value : array.values)
        for (uint8_t byte : bytes_of_type(type, value)) made.bytes.push_back(byte);
    }
    ir::Array& counter = container.arrays["backbone.features.0.1.num_batches_tracked"];
    counter.type = "I64";
    counter.bytes.assign(8, 0);
    ir::write_safetensors(container, file_);
    EXPECT_EQ(ir::first_difference(expected, frontend::read_network(file_), 0), "") << type;
    container.arrays["project_mat.conv.bias"].type = "I16";
    container.arrays["project_mat.conv.bias"].bytes.resize(8);
    const std::vector<uint8_t> bytes = ir::safetensors_bytes(container, "file");
    expect_error({bytes.begin(), bytes.end()}, "'project_mat.conv.bias' has type I16");
  }
}

}  // namespace
}  // namespace mattec
