// Loading compiled libraries into the process, and refusing everything else by one clear error.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/checksum.h"
#include "base/error.h"
#include "targets/checksums.h"
#include "targets/load_library.h"

namespace mattec::targets {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string write_scratch(const std::string& name, const std::string& bytes) {
  std::string path = testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string error_of(const std::string& path) {
  try {
    LoadedLibrary::load(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Steps the fake library (tests/fake_library.c) with a frame of one green value.
int alpha_for_green(mattec_session* session, uint8_t green) {
  std::vector<uint8_t> frame(size_t{16} * 8 * 3, 0), alpha(size_t{16} * 8);
  for (size_t i = 1; i < frame.size(); i += 3) frame[i] = green;
  const mattec_image image = {frame.data(), 16, 8, 48, MATTEC_RGB};
  mattec_outputs outputs = {};
  outputs.alpha = {alpha.data(), 16, 8, 16, MATTEC_GRAY};
  EXPECT_EQ(mattec_step(session, &image, nullptr, &outputs), MATTEC_OK);
  return alpha[127];
}

TEST(LoadLibrary, RunsTheCodeOfTheArchive) {
  const LoadedLibrary library = LoadedLibrary::load(FAKE_LIBRARY);
  EXPECT_EQ(library.name(), "fake");
  alignas(64) static uint8_t arena[4096];
  mattec_session* session = nullptr;
  ASSERT_EQ(mattec_init(library.model(), arena, sizeof arena, nullptr, &session), MATTEC_OK);
  EXPECT_EQ(alpha_for_green(session, 200), 200);
  EXPECT_EQ(alpha_for_green(session, 7), 100);  // the state, halved
  mattec_reset(session);
  EXPECT_EQ(alpha_for_green(session, 7), 7);
}

// The code must live as long as a copy does, and two libraries must not share it.
TEST(LoadLibrary, CopiesKeepTheCodeAndTwoLibrariesLiveSideBySide) {
  LoadedLibrary copy = LoadedLibrary::load(FAKE_LIBRARY);
  const LoadedLibrary other = LoadedLibrary::load(FAKE_LIBRARY);
  {
    const LoadedLibrary first = LoadedLibrary::load(FAKE_LIBRARY);
    copy = first;
  }
  EXPECT_NE(copy.model(), other.model());
  alignas(64) static uint8_t arena[4096];
  mattec_session* session = nullptr;
  ASSERT_EQ(mattec_init(copy.model(), arena, sizeof arena, nullptr, &session), MATTEC_OK);
  EXPECT_EQ(alpha_for_green(session, 9), 9);
}

TEST(LoadLibrary, NamesAMissingFile) {
  EXPECT_EQ(error_of("nowhere/librvm.a")
                .find("nowhere/librvm.a: cannot be opened: No such file or directory"),
            0U);
  EXPECT_NE(error_of("/dev/zero").find("is a device, not a file"), std::string::npos);
}

TEST(LoadLibrary, RefusesWhatIsNoArchive) {
  const std::string path = write_scratch("libtext.a", "This is a text about libraries.\n");
  EXPECT_NE(error_of(path).find("libtext.a: is no static library"), std::string::npos);
}

TEST(LoadLibrary, RefusesAnArchiveWithoutModel) {
  EXPECT_NE(error_of(EMPTY_LIBRARY).find("holds no symbol <name>_model"), std::string::npos);
}

TEST(LoadLibrary, NamesAnUndefinedSymbol) {
  const std::string error = error_of(UNDEFINED_LIBRARY);
  EXPECT_NE(error.find("cannot be linked"), std::string::npos) << error;
  EXPECT_NE(error.find("fake_missing_function"), std::string::npos) << error;
}

TEST(LoadLibrary, RefusesAnotherArchitecture) {
  std::string bytes = read_file(FAKE_LIBRARY);
  const size_t elf = bytes.find(
      "\x7f"
      "ELF");
  ASSERT_NE(elf, std::string::npos);
  bytes[elf + 18] = static_cast<char>(183);  // e_machine: AArch64
  seal(bytes.data(), bytes.size(), archive_marker);
  const std::string path = write_scratch("libarm.a", bytes);
  EXPECT_NE(error_of(path).find("was compiled for aarch64"), std::string::npos);
  EXPECT_THROW(LoadedLibrary::load(path), OtherProcessor);
}

// Whatever byte it is: in a header, in code, in a table, in padding, in the checksum itself.
TEST(LoadLibrary, NoticesEveryDamagedByte) {
  const std::string bytes = read_file(FAKE_LIBRARY);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    const std::string error = error_of(write_scratch("libdamaged.a", damaged));
    ASSERT_EQ(error.find(testing::TempDir() + "libdamaged.a: "), 0U) << "byte " << i << error;
    ASSERT_TRUE(error.find("compile it again") != std::string::npos ||
                error.find("is no static library") != std::string::npos)
        << "byte " << i << ": " << error;
  }
}

TEST(LoadLibrary, NoticesWhatIsAppended) {
  const std::string bytes = read_file(FAKE_LIBRARY);
  const std::string member = "more.o/         0           0     0     644     2         `\nxx";
  for (const std::string& more : {std::string("\n"), std::string(1, '\0'), member, bytes})
    EXPECT_NE(error_of(write_scratch("liblonger.a", bytes + more)).find("damaged"),
              std::string::npos);
}

// As versions before the checksum wrote them.
TEST(LoadLibrary, RefusesALibraryWithoutChecksum) {
  std::string bytes = read_file(FAKE_LIBRARY);
  const size_t at = bytes.find(archive_marker);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, archive_marker.size() + checksum_digits,
                std::string(archive_marker.size() + checksum_digits, ' '));
  const std::string error = error_of(write_scratch("libold.a", bytes));
  EXPECT_NE(error.find("has no checksum"), std::string::npos) << error;
  EXPECT_NE(error.find("compile it again"), std::string::npos) << error;
}

TEST(LoadLibrary, NoticesTruncationAnywhere) {
  const std::string bytes = read_file(FAKE_LIBRARY);
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_NE(error_of(write_scratch("libcut.a", bytes.substr(0, size))), "no error") << size;
}

}  // namespace
}  // namespace mattec::targets
