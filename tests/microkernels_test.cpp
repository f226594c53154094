// The micro-kernels as the compiler carries them: one symbol each, which a library renames, and
// nothing that firmware lacks.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "microkernels/embedded.h"
#include "tests/symbols.h"

namespace mattec::microkernels {
namespace {

class MicroKernel : public testing::TestWithParam<const char*> {};

TEST_P(MicroKernel, DefinesOneSymbolAndWantsNothing) {
  const runtime::Embedded code = object(GetParam());
  const std::string bytes(reinterpret_cast<const char*>(code.data), code.size);
  EXPECT_EQ(bytes.substr(0, 4), "\177ELF");
  EXPECT_EQ(bytes.find(MATTEC_SOURCE_DIR), std::string::npos);
  const std::filesystem::path file =
      std::filesystem::path(testing::TempDir()) / ("mattec_" + std::string(GetParam()) + ".o");
  std::ofstream(file, std::ios::binary) << bytes;
  EXPECT_EQ(test::symbols(file.string(), "--defined-only --extern-only"),
            (std::set<std::string>{"T accumulate_" + std::string(GetParam())}));
  EXPECT_EQ(test::symbols(file.string(), "--undefined-only"), std::set<std::string>{});
  std::filesystem::remove(file);
}

INSTANTIATE_TEST_SUITE_P(All, MicroKernel,
                         testing::Values("smlal", "smmla", "vpdpbusd", "vpdpbusd_avx512"));

TEST(MicroKernelErrors, UnknownName) {
  try {
    object("vax");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "this mattec was built without the micro-kernel vax; install Clang (scripts/setup "
                 "--tests) and build mattec again");
  }
}

}  // namespace
}  // namespace mattec::microkernels
