// The driver where there is no libFuzzer: the seeds, then ROUNDS changed ones, always the same.
//   fuzz_model [ROUNDS]             runs them
//   fuzz_model FILE...              runs files, such as those that libFuzzer found
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/read_file.h"
#include "fuzz/fuzz.h"

namespace {

using mattec::Random;

void run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

size_t place_in(const std::string& bytes, Random& random) {
  return static_cast<size_t>(random.next() % (bytes.size() + 1));
}

// A part of another seed, or of the same.
std::string piece_of(const std::string& bytes, Random& random) {
  const size_t begin = place_in(bytes, random);
  return bytes.substr(begin, 1 + static_cast<size_t>(random.below(64)));
}

std::string number(Random& random) {
  static const uint64_t edges[] = {0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, ~0ULL};
  const uint64_t value = edges[random.below(9)] + static_cast<uint64_t>(random.below(3)) - 1;
  return {reinterpret_cast<const char*>(&value), size_t{1} << random.below(4)};
}

void change(std::string& bytes, const std::string& other, Random& random) {
  const size_t at = place_in(bytes, random);
  switch (random.below(7)) {
    case 0:  // a bit
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ 1 << random.below(8));
      break;
    case 1:  // a byte
      if (at < bytes.size()) bytes[at] = static_cast<char>(random.next());
      break;
    case 2: {  // a number
      const std::string made = number(random);
      bytes.replace(at, std::min(made.size(), bytes.size() - at), made);
      break;
    }
    case 3:
      bytes.erase(at, static_cast<size_t>(random.below(32)));
      break;
    case 4:
      bytes.insert(at, piece_of(other, random));
      break;
    case 5: {
      const std::string made = piece_of(bytes, random);
      bytes.replace(at, std::min(made.size(), bytes.size() - at), made);
      break;
    }
    default:
      if (random.chance(0.2)) bytes.resize(at);
  }
}

std::string changed(const std::vector<std::string>& seeds, Random& random) {
  const auto pick = [&]() -> const std::string& {
    return seeds[static_cast<size_t>(random.below(static_cast<int>(seeds.size())))];
  };
  std::string bytes = pick();
  for (int changes = 1 + random.below(6); changes > 0; --changes) change(bytes, pick(), random);
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const long rounds = argc > 1 ? std::strtol(argv[1], &end, 10) : 1000;
  if (end && *end != '\0') {
    for (int i = 1; i < argc; ++i) run(mattec::read_file(argv[i], mattec::most_model_bytes));
    return 0;
  }
  const std::vector<std::string> seeds = fuzz_seeds();
  for (const std::string& seed : seeds) run(seed);
  Random random(1);
  for (long round = 0; round < rounds; ++round) run(changed(seeds, random));
  std::printf("%zu seeds and %ld changed ones\n", seeds.size(), rounds);
}
