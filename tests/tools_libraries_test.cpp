// Damaged and foreign libraries in the hands of the verbs that run them.
#include <gtest/gtest.h>

#include "tests/sealed_manifest.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

// The library with one bit of its code changed: fake_step's first instructions.
std::string damaged_library() {
  std::string bytes = read_bytes(FAKE_LIBRARY);
  const size_t code = bytes.find(
                          "\x7f"
                          "ELF") +
                      64;  // behind the object's header
  bytes[code] = static_cast<char>(bytes[code] ^ 4);
  return bytes;
}

class Libraries : public testing::Test {
 protected:
  Libraries() {
    fs::create_directories(scratch / "clip");
    for (const char* part : {"clip/src", "clip/pha"}) write_clip(scratch / part, {8, 16}, 2);
    for (const char* target : {"a", "b", "c"})
      fs::create_directories(scratch / (std::string("product/") + target));
  }
  std::vector<std::vector<std::string>> commands(const std::string& library) const {
    return {{"run", library, scratch / "clip/src", "-o", scratch / "matte"},
            {"eval", library, scratch / "clip"},
            {"bench", library, "--iterations", "2"},
            {"inspect", library}};
  }
  void expect_all_fail(const std::string& library, const std::string& part) const {
    for (const std::vector<std::string>& words : commands(library))
      expect_failure(command(scratch, words), 1, part);
  }

  const Scratch scratch;
  const std::string library = scratch / "product/a/libfake.a";
};

TEST_F(Libraries, AreNotRunWhereDamaged) {
  write_bytes(library, damaged_library());
  expect_all_fail(library, "a/libfake.a: is damaged: its bytes are not those");
}

TEST_F(Libraries, AreNotRunBesideAManifestOfAnother) {
  fs::copy(FAKE_LIBRARY, library);
  const std::string manifest = scratch / "product/a/fake.json";
  write_manifest(manifest, {{"name", "fake"}}, FOREIGN_LIBRARY);
  expect_all_fail(library, "fake.json: was written with another library than ");
  write_manifest(manifest, {{"name", "fake"}, {"gmac", 0.5}}, FAKE_LIBRARY);
  for (const std::vector<std::string>& words : commands(library))
    EXPECT_EQ(command(scratch, words).exit_code, 0) << words[0];
  nlohmann::ordered_json deep = 0;
  for (int level = 0; level < 40; ++level) deep = nlohmann::ordered_json::array({deep});
  write_manifest(manifest, {{"name", "fake"}, {"deep", deep}}, FAKE_LIBRARY);
  expect_failure(command(scratch, commands(library)[2]), 1,
                 "fake.json: is nested deeper than 32 levels; compile the library again");
  write_manifest(manifest, {{"name", "fake"}, {"gmac", 0.5}}, FAKE_LIBRARY);
  std::string text = read_bytes(manifest);
  text[text.find("0.5")] = '7';
  write_bytes(manifest, text);
  expect_failure(command(scratch, commands(library)[2]), 1,
                 "fake.json: is damaged: its checksum is wrong; compile the library again, or "
                 "remove the file");
}

TEST_F(Libraries, OfAFolderAreNamedWhereDamagedAndPassedOverWhereForeign) {
  write_bytes(library, damaged_library());
  fs::copy(FAKE_LIBRARY, scratch / "product/b/libfake.a");
  fs::copy(FOREIGN_LIBRARY, scratch / "product/c/libfake.a");
  for (size_t i = 0; i < 2; ++i) {  // run and eval
    const CommandResult result = command(scratch, commands(scratch / "product")[i]);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err.find("mattec: note: " + library + ": is damaged"), 0U) << result.err;
    EXPECT_EQ(result.err.find("c/libfake.a"), std::string::npos) << result.err;
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  }
  fs::remove(scratch / "product/b/libfake.a");
  const CommandResult none = command(scratch, commands(scratch / "product")[1]);
  EXPECT_EQ(none.exit_code, 1);
  for (const char* part : {"a/libfake.a: is damaged", "c/libfake.a: the processor lacks"})
    EXPECT_NE(none.err.find(part), std::string::npos) << none.err;
}

// The limit holds for the first thread, too.
TEST_F(Libraries, AreRunWhereTheStackIsSmall) {
  rlimit before = {};
  getrlimit(RLIMIT_STACK, &before);
  const rlimit small = {size_t{256} * 1024, before.rlim_max};
  setrlimit(RLIMIT_STACK, &small);
  const CommandResult result = command(scratch, commands(DEEP_LIBRARY)[0]);
  setrlimit(RLIMIT_STACK, &before);
  EXPECT_EQ(result.signal, 0);
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// What a terminal would obey, and what is no UTF-8.
TEST_F(Libraries, OfAnyNameAreShownSafely) {
  const std::string file = scratch / "libred\x1b[31m\xff.a", unsafe = "\x1b\xff";
  fs::copy(FAKE_LIBRARY, file);
  for (std::vector<std::string> words : {commands(file)[2], commands(file)[3]}) {
    const CommandResult shown = command(scratch, words);
    EXPECT_EQ(shown.exit_code, 0) << shown.err;
    EXPECT_EQ(shown.out.find_first_of(unsafe), std::string::npos) << words[0];
    words.emplace_back("--json");
    const CommandResult json = command(scratch, words);
    EXPECT_EQ(json.exit_code, 0) << json.err;
    EXPECT_TRUE(nlohmann::json::accept(json.out)) << words[0];
  }
  write_bytes(file, "damaged");
  EXPECT_EQ(command(scratch, commands(file)[2]).err.find_first_of(unsafe), std::string::npos);
}

}  // namespace
}  // namespace mattec::tools
