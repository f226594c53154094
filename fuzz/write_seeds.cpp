// In programs of libFuzzer: `fuzz_model --seeds FOLDER` writes the seeds there and ends.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "fuzz/fuzz.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc != 3 || std::strcmp((*argv)[1], "--seeds") != 0) return 0;
  const std::filesystem::path folder = (*argv)[2];
  std::filesystem::create_directories(folder);
  int number = 0;
  for (const std::string& seed : fuzz_seeds()) {
    std::ofstream file(folder / ("seed" + std::to_string(number++)), std::ios::binary);
    if (!(file << seed).flush()) {
      std::fprintf(stderr, "%s: cannot be written\n", folder.c_str());
      std::exit(1);
    }
  }
  std::exit(0);
}
