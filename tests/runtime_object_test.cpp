// The object as the compiler carries it: its symbols, and nothing of the build machine inside.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "base/error.h"
#include "runtime/embedded.h"

namespace mattec::runtime {
namespace {

constexpr const char* architecture =
#if defined(__x86_64__)
    "x86-64";
#else
    "arm-64";
#endif

std::string object_text() {
  const Embedded object = runtime_object(architecture);
  return {reinterpret_cast<const char*>(object.data), object.size};
}

// "T name" lines of `nm`, without values.
std::set<std::string> symbols(const std::string& file, const std::string& options) {
  std::string command = MATTEC_NM " --format=posix ";
  command.append(options).append(" ").append(file);
  std::FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::set<std::string> found;
  char line[512];
  while (pipe && std::fgets(line, sizeof line, pipe)) {
    std::istringstream words(line);
    std::string name, type;
    words >> name >> type;
    found.insert(type.append(" ").append(name));
  }
  EXPECT_EQ(pclose(pipe), 0) << command;
  return found;
}

TEST(RuntimeObject, DefinesOneSymbolAndWantsPthreadAlone) {
  const std::filesystem::path file =
      std::filesystem::path(testing::TempDir()) / "mattec_runtime_object_test.o";
  std::ofstream(file, std::ios::binary) << object_text();
  EXPECT_EQ(symbols(file.string(), "--defined-only --extern-only"),
            (std::set<std::string>{"D mattec_runtime_functions"}));
  for (const std::string& symbol : symbols(file.string(), "--undefined-only"))
    EXPECT_EQ(symbol.rfind("U pthread_", 0), 0U) << symbol;
  std::filesystem::remove(file);
}

TEST(RuntimeObject, FirmwareFormWantsNothing) {
  EXPECT_EQ(symbols(MATTEC_BARE_OBJECT, "--defined-only --extern-only"),
            (std::set<std::string>{"D mattec_runtime_functions"}));
  EXPECT_EQ(symbols(MATTEC_BARE_OBJECT, "--undefined-only"), std::set<std::string>{});
}

TEST(RuntimeObject, IsSmallAndFreeOfPaths) {
  const std::string object = object_text();
  EXPECT_EQ(object.substr(0, 4), "\177ELF");
  EXPECT_LT(object.size(), 32768U);
  EXPECT_EQ(object.find(MATTEC_SOURCE_DIR), std::string::npos);
}

TEST(RuntimeObject, UnknownArchitectureIsAnError) {
  try {
    runtime_object("pdp-11");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("pdp-11"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(architecture), std::string::npos) << error.what();
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
