// Files that appear whole or not at all, files that are read whole, words that are safe to print.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "base/read_file.h"
#include "base/staged_path.h"
#include "base/text.h"
#include "tests/scratch.h"

namespace mattec {
namespace {

namespace fs = std::filesystem;

std::string error_of_writing(const std::string& file, const std::string& bytes) {
  return error_of([&] { write_file_atomically(file, bytes.data(), bytes.size()); });
}

TEST(WriteFile, ReplacesAndFollowsLinks) {
  const Scratch scratch;
  EXPECT_EQ(error_of_writing(scratch / "real", "one"), "no error");
  fs::create_symlink("real", scratch / "link");
  EXPECT_EQ(error_of_writing(scratch / "link", "two"), "no error");
  EXPECT_TRUE(fs::is_symlink(scratch / "link"));
  EXPECT_EQ(read_bytes(scratch / "real"), "two");
  EXPECT_EQ(scratch.entries(), 2U);
  // One that leads to a link that leads to nothing yet, in another folder.
  fs::create_directories(scratch / "there/inner");
  fs::create_symlink("inner/new", scratch / "there/next");
  fs::create_symlink("there/next", scratch / "dangling");
  EXPECT_EQ(error_of_writing(scratch / "dangling", "three"), "no error");
  EXPECT_EQ(read_bytes(scratch / "there/inner/new"), "three");
  EXPECT_TRUE(fs::is_symlink(scratch / "there/next"));
  // The folder above what a link leads to, as the system reads it.
  fs::create_directory_symlink("there/inner", scratch / "folder");
  EXPECT_EQ(error_of_writing(scratch / "folder/../up", "four"), "no error");
  EXPECT_EQ(read_bytes(scratch / "there/up"), "four");
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(static_cast<mode_t>(fs::status(scratch / "real").permissions()), 0666 & ~mask);
}

TEST(WriteFile, RefusesWhatIsNoFile) {
  const Scratch scratch;
  expect_contains(error_of_writing(scratch / "no/such/folder", "x"), "does not exist; create it");
  expect_contains(error_of_writing(scratch.path(), "x"), "is a folder");
  expect_contains(error_of_writing("/dev/full", "x"), "neither a file nor a folder");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  fs::create_symlink("/dev/full", scratch / "link");
  expect_contains(error_of_writing(scratch / "link", "x"), "neither a file nor a folder");
}

// What a full disk does, by way of a limit on file sizes: the old file stays, nothing is added.
TEST(WriteFile, AFailedWriteLeavesNothing) {
  const Scratch scratch;
  EXPECT_EQ(error_of_writing(scratch / "a", "old"), "no error");
  std::string error, fresh;
  {
    const FileSizeLimit limit(4096);
    error = error_of_writing(scratch / "a", std::string(100000, 'x'));
    fresh = error_of_writing(scratch / "b", std::string(100000, 'x'));
  }
  EXPECT_EQ(error.find(scratch / "a: cannot be written: "), 0U) << error;
  expect_contains(error, "free some space");
  EXPECT_NE(fresh, "no error");
  EXPECT_EQ(read_bytes(scratch / "a"), "old");
  EXPECT_EQ(scratch.entries(), 1U);
}

TEST(StagedPath, RemovesWhatAKilledProcessLeftAndNothingElse) {
  const Scratch scratch;
  write_bytes(scratch / ".clip.partial17-0.mp4", "left over");
  fs::create_directory(scratch / ".clip.partial18.mp4");
  write_bytes(scratch / ".clip.partial18.mp4/000001.png", "left over");
  const char* const others[] = {".clip.partial17-0.mkv", ".clip.partial.mp4", ".clip.partialx.mp4",
                                ".other.partial17-0.mp4", "clip.partial17-0.mp4"};
  for (const char* other : others) write_bytes(scratch / other, "somebody's");
  // A process that still writes holds the lock.
  write_bytes(scratch / ".clip.partial19-0.mp4", "being written");
  const int writer = open((scratch / ".clip.partial19-0.mp4").c_str(), O_RDWR);
  ASSERT_EQ(flock(writer, LOCK_EX | LOCK_NB), 0);
  {
    const StagedPath staged(scratch / "clip.mp4", StagedPath::Kind::file);
    EXPECT_FALSE(fs::exists(scratch / ".clip.partial17-0.mp4"));
    EXPECT_FALSE(fs::exists(scratch / ".clip.partial18.mp4"));
    EXPECT_TRUE(fs::exists(scratch / ".clip.partial19-0.mp4"));
    for (const char* other : others) EXPECT_TRUE(fs::exists(scratch / other)) << other;
    // Nor does this process take its own for left over.
    const StagedPath second(scratch / "clip.mp4", StagedPath::Kind::file);
    EXPECT_TRUE(fs::exists(staged.path()));
    EXPECT_NE(staged.path(), second.path());
  }
  EXPECT_EQ(scratch.entries(), std::size(others) + 1);
  close(writer);
}

TEST(StagedPath, ReplacesAFolderInOneStep) {
  const Scratch scratch;
  fs::create_directory(scratch / "out");
  write_bytes(scratch / "out/old", "old");
  {
    StagedPath staged(scratch / "out", StagedPath::Kind::folder);
    write_bytes(staged.path() + "/new", "new");
    expect_contains(error_of([&] { staged.commit(); }), "cannot be put in place");
    EXPECT_TRUE(fs::exists(scratch / "out/old"));
    staged.replace_folder();
  }
  EXPECT_EQ(read_bytes(scratch / "out/new"), "new");
  EXPECT_EQ(scratch.entries("out"), 1U);
  EXPECT_EQ(scratch.entries(), 1U);
}

TEST(StagedPath, ReplacesSeveralFoldersOrNone) {
  const Scratch scratch;
  for (const char* name : {"a", "b"}) {
    fs::create_directory(scratch / name);
    write_bytes(scratch / name + "/old", name);
  }
  const auto replace = [&scratch](const std::vector<std::string>& names) {
    std::vector<std::unique_ptr<StagedPath>> staged;
    std::vector<StagedPath*> all;
    for (const std::string& name : names) {
      staged.push_back(std::make_unique<StagedPath>(scratch / name, StagedPath::Kind::folder));
      write_bytes(staged.back()->path() + "/new", name);
      all.push_back(staged.back().get());
    }
    return error_of([&] {
      // What is there when it is too late to look.
      if (names.back() == "c") write_bytes(scratch / "c", "a file");
      StagedPath::replace_folders(all);
    });
  };
  expect_contains(replace({"a", "b", "c"}), "c: cannot be put in place: Not a directory");
  for (const char* name : {"a", "b"}) {
    EXPECT_EQ(read_bytes(scratch / name + "/old"), name);
    EXPECT_EQ(scratch.entries(name), 1U);
  }
  EXPECT_EQ(read_bytes(scratch / "c"), "a file");
  EXPECT_EQ(scratch.entries(), 3U);
  EXPECT_EQ(replace({"a", "new", "b"}), "no error");
  for (const char* name : {"a", "new", "b"}) {
    EXPECT_EQ(read_bytes(scratch / name + "/new"), name);
    EXPECT_EQ(scratch.entries(name), 1U);
  }
  EXPECT_EQ(scratch.entries(), 4U);
}

TEST(StagedPath, CommitsANewFolderOnlyWhereNothingIs) {
  const Scratch scratch;
  {
    StagedPath first(scratch / "out", StagedPath::Kind::folder);
    StagedPath second(scratch / "out", StagedPath::Kind::folder);
    write_bytes(first.path() + "/first", "");
    EXPECT_TRUE(first.commit_new());
    EXPECT_FALSE(second.commit_new());
  }
  EXPECT_EQ(scratch.entries("out"), 1U);
  EXPECT_EQ(scratch.entries(), 1U);
}

TEST(StagedPath, NamesTheFinalPathInErrors) {
  const Scratch scratch;
  const StagedPath staged(scratch / "out", StagedPath::Kind::folder);
  EXPECT_EQ(
      error_of([&] { staged.with_final_name([&] { throw Error(staged.path() + "/a: is bad"); }); }),
      scratch / "out/a: is bad");
}

TEST(Checksum, KnowsEveryWrongByteAndItsOwnPlaceOnly) {
  const std::string marker = "sum=";
  std::string bytes = std::string("some\0text sum=", 14) + std::string(16, '?') + " and more";
  const std::string digits = seal(bytes.data(), bytes.size(), marker);
  EXPECT_EQ(bytes.find(digits), 14U);
  EXPECT_EQ(digits.find_first_not_of("0123456789abcdef"), std::string::npos);
  ASSERT_TRUE(find_checksum(bytes, marker));
  EXPECT_TRUE(find_checksum(bytes, marker)->is_right());
  for (size_t i = 0; i < bytes.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const std::optional<Checksum> found = find_checksum(damaged, marker);
      EXPECT_FALSE(found && found->is_right()) << "byte " << i << ", bit " << bit;
    }
  EXPECT_FALSE(find_checksum(bytes + marker, marker));  // twice
  EXPECT_FALSE(find_checksum(bytes.substr(0, 29), marker));
  EXPECT_FALSE(find_checksum("", marker));
}

TEST(ReadFile, TakesRegularFilesOfABoundedSizeOnly) {
  const Scratch scratch;
  write_bytes(scratch / "file", "12345");
  EXPECT_EQ(read_file(scratch / "file", 5), "12345");
  expect_contains(error_of([&] { read_file(scratch / "file", 4); }),
                  "has 5 bytes, more than the 4");
  expect_contains(error_of([&] { read_file(scratch / "none", 4); }), "No such file");
  expect_contains(error_of([&] { read_file(scratch.path(), 4); }), "is a folder, not a file");
  expect_contains(error_of([&] { read_file("/dev/zero", 4); }), "is a device, not a file");
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);  // with nobody at its other end
  expect_contains(error_of([&] { read_file(scratch / "pipe", 4); }), "is a pipe, not a file");
}

TEST(Text, EscapesWhatATerminalObeysAndWhatIsNoText) {
  EXPECT_EQ(printable("plain, Köln, 日本, 😀"), "plain, Köln, 日本, 😀");
  EXPECT_EQ(printable("\x1b[31mred\n\t\x7f"), "\\x1b[31mred\\x0a\\x09\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");  // C1: a control sequence
  EXPECT_EQ(printable("\xff"
                      "a\xc3"),
            "\\xffa\\xc3");                                                   // no UTF-8, cut off
  EXPECT_EQ(printable("\xc0\xaf\xed\xa0\x80"), "\\xc0\\xaf\\xed\\xa0\\x80");  // overlong, surrogate
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Text, FindsTheNearestWord) {
  const std::vector<std::string> verbs = {"quantize", "compile", "run", "eval", "bench", "inspect"};
  EXPECT_EQ(nearest("quantise", verbs), "quantize");
  EXPECT_EQ(nearest("Comiple", verbs), "compile");
  EXPECT_EQ(nearest("rnu", verbs), "run");
  EXPECT_EQ(nearest("matte", verbs), "");
  EXPECT_EQ(nearest("", verbs), "");
  EXPECT_EQ(nearest(std::string(100000, 'x'), verbs), "");
  EXPECT_EQ(hint_at_nearest("rnu", verbs), "; the nearest is \"run\"");
  EXPECT_EQ(hint_at_nearest("matte", verbs), "");
}

}  // namespace
}  // namespace mattec
