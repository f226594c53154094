// The object as the compiler carries it: its symbols, and nothing of the build machine inside.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "base/error.h"
#include "runtime/embedded.h"
#include "tests/symbols.h"

namespace mattec::runtime {
namespace {

std::string object_text(const std::string& architecture, bool is_hosted) {
  const Embedded object = runtime_object(architecture, is_hosted);
  return {reinterpret_cast<const char*>(object.data), object.size};
}

class RuntimeObject : public testing::TestWithParam<const char*> {};

// Of every architecture, hosted or not.
TEST_P(RuntimeObject, DefinesOneSymbolAndWantsLittle) {
  for (const bool is_hosted : {true, false}) {
    const std::string object = object_text(GetParam(), is_hosted);
    EXPECT_EQ(object.substr(0, 4), "\177ELF");
    EXPECT_LT(object.size(), 32768U);
    EXPECT_EQ(object.find(MATTEC_SOURCE_DIR), std::string::npos);
    const std::filesystem::path file =
        std::filesystem::path(testing::TempDir()) / "mattec_runtime_object_test.o";
    std::ofstream(file, std::ios::binary) << object;
    EXPECT_EQ(test::symbols(file.string(), "--defined-only --extern-only"),
              (std::set<std::string>{"D mattec_runtime_functions"}));
    const std::set<std::string> wanted = test::symbols(file.string(), "--undefined-only");
    for (const std::string& symbol : wanted)
      EXPECT_TRUE(symbol.rfind("U pthread_", 0) == 0 || symbol == "U getauxval") << symbol;
    EXPECT_EQ(wanted.empty(), !is_hosted);
    std::filesystem::remove(file);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, RuntimeObject, testing::Values("x86-64", "arm-64"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return std::string(info.param, 3);
                         });

TEST(RuntimeObjectErrors, UnknownArchitecture) {
  try {
    runtime_object("pdp-11", true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("pdp-11"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("scripts/setup"), std::string::npos) << error.what();
  }
}

TEST(PublicHeader, IsTheOneInTheSource) {
  std::ifstream file(std::string(MATTEC_SOURCE_DIR) + "/runtime/mattec.h", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty());
  EXPECT_EQ(public_header(), text.str());
}

}  // namespace
}  // namespace mattec::runtime
