// PyTorch's checkpoints: the pickle alone in an archive with sound storages, and whole archives.
#include "base/error.h"
#include "frontend/state_dict.h"
#include "frontend/weight_file.h"
#include "fuzz/fuzz.h"
#include "tests/pickles.h"

namespace {

using namespace mattec::testing;  // NOLINT: what makes the files

// The first byte of an input says which of the two follows.
constexpr char pickle_alone = 'p', whole_archive = 'a';

mattec::frontend::Weights zeros() {
  mattec::frontend::Weights weights;
  for (const auto& parameter : parameters(mattec::frontend::nano())) {
    size_t count = 1;
    for (int64_t extent : parameter.shape) count *= static_cast<size_t>(extent);
    weights[parameter.name] = {parameter.shape, std::vector<float>(count, 0.0F)};
  }
  return weights;
}

void read(const std::string& archive) {
  try {
    const mattec::frontend::ZipArchive zip(archive, "file");
    build_network(read_state_dict(zip), "file");
  } catch (const mattec::Error&) {
    // One clear error.
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const StateDict made = state_dict(zeros()), prefixed = state_dict(zeros(), "module.");
  const std::string two = text("ema") + nested(prefixed.items) + text("epoch") + integer(7) +
                          text("model") + nested(made.items);
  const std::string small = dictionary(
      text("a") + tensor(storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1}) + text("b") +
      "cos\nsystem\n" + tuple({text("true")}) + "R" + text("c") + "](K\x01K\x02" + "e");
  const ZipEntry pickle = stored_entry("net/data.pkl", small);
  return {pickle_alone + dictionary(made.items), pickle_alone + dictionary(two),
          pickle_alone + small, whole_archive + zip_of({pickle, deflated_zeros("net/data/0", 24)})};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  static const std::vector<std::pair<std::string, std::string>> entries =
      state_dict(zeros()).entries;
  if (*data == whole_archive)
    read(bytes);
  else
    read(checkpoint(bytes, entries));
  return 0;
}
