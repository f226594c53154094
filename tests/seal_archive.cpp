// seal_archive FILE: fills in the checksum of a hand-made library.
#include <cstdio>
#include <exception>

#include "base/checksum.h"
#include "base/read_file.h"
#include "base/staged_path.h"
#include "targets/checksums.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    std::string bytes = mattec::read_file(argv[1], mattec::most_model_bytes);
    mattec::seal(bytes.data(), bytes.size(), mattec::targets::archive_marker);
    mattec::write_file_atomically(argv[1], bytes.data(), bytes.size());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "seal_archive: %s\n", error.what());
    return 1;
  }
}
