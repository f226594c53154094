// TorchScript's archives as far as mattec's own code reads them before LibTorch does: the
// directory, what kind of file it is, every entry's content.
#include "base/error.h"
#include "frontend/weight_file.h"
#include "fuzz/fuzz.h"
#include "tests/pickles.h"

namespace {

using namespace mattec::testing;  // NOLINT: what makes the files

// Code is what PyTorch deflates.
ZipEntry code() { return deflated_zeros("net/code/__torch__.py", 300); }

void read_all(const mattec::frontend::ZipArchive& archive) {
  for (const std::string& name : archive.names()) {
    try {
      archive.content(name);
    } catch (const mattec::Error&) {
      // This entry is damaged.
    }
  }
  archive.check_contents();
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const ZipEntry constants = stored_entry("net/constants.pkl", "\x80\x02).");
  return {zip_of(std::vector<ZipEntry>{}), zip_of(std::vector<ZipEntry>{constants}),
          zip_of({constants, code(), stored_entry("net/data/0", std::string(64, 'w')),
                  stored_entry("net/version", "3\n")})};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const mattec::frontend::ZipArchive archive({reinterpret_cast<const char*>(data), size}, "file");
    if (kind_of(archive) != mattec::frontend::ArchiveKind::other) archive.root();
    read_all(archive);
  } catch (const mattec::Error&) {
    // One clear error.
  }
  return 0;
}
