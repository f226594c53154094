// Static libraries as the loader reads them: whatever the bytes, one Error or the members.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "fuzz/fuzz.h"
#include "targets/archive_members.h"
#include "targets/checksums.h"

namespace {

using mattec::targets::archive_marker;

const std::string path = "libfuzz.a";

// The bytes of a little-endian number.
template <typename Number>
void put(std::string& bytes, Number value) {
  for (size_t i = 0; i < sizeof value; ++i, value = static_cast<Number>(value >> 4 >> 4))
    bytes.push_back(static_cast<char>(value & 0xff));
}

struct Section {
  uint32_t name = 0, type = 0;
  uint64_t flags = 0, offset = 0, size = 0;
};

void put(std::string& bytes, const Section& section) {
  put(bytes, section.name);
  put(bytes, section.type);
  put(bytes, section.flags);
  put(bytes, uint64_t{0});  // address
  put(bytes, section.offset);
  put(bytes, section.size);
  for (int i = 0; i < 2; ++i) put(bytes, uint32_t{0});  // link, info
  put(bytes, uint64_t{1});                              // alignment
  put(bytes, uint64_t{0});
}

// A relocatable ELF object for x86-64 whose one section of content holds `text`.
std::string elf_object(const std::string& text) {
  constexpr uint64_t header_bytes = 64;
  const std::string names("\0.names\0.mattec.checksum\0", 25);
  std::string bytes(
      "\x7f"
      "ELF\2\1\1",
      7);
  bytes.resize(16);
  put(bytes, uint16_t{1});   // relocatable
  put(bytes, uint16_t{62});  // x86-64
  put(bytes, uint32_t{1});
  for (int i = 0; i < 2; ++i) put(bytes, uint64_t{0});    // entry, segments
  put(bytes, header_bytes + names.size() + text.size());  // sections
  put(bytes, uint32_t{0});
  for (const int value : {64, 0, 0, 64, 3, 1}) put(bytes, static_cast<uint16_t>(value));
  bytes += names + text;
  put(bytes, Section{});
  put(bytes, Section{1, 3, 0, header_bytes, names.size()});                          // strings
  put(bytes, Section{8, 1, 0x80000000U, header_bytes + names.size(), text.size()});  // excluded
  return bytes;
}

std::string member(std::string name, const std::string& content) {
  name.resize(16, ' ');
  std::string size = std::to_string(content.size());
  size.resize(10, ' ');
  return name + "0           0     0     644     " + size + "`\n" + content +
         (content.size() % 2 != 0 ? "\n" : "");
}

std::string sealed(std::string bytes) {
  mattec::seal(bytes.data(), bytes.size(), archive_marker);
  return bytes;
}

// Every way in which a library can be read.
void read(const std::string& bytes) {
  try {
    mattec::targets::require_undamaged(path, bytes);
  } catch (const mattec::Error&) {
    // Damaged, as nearly always; the members are walked all the same.
  }
  try {
    mattec::targets::archive_members(path, {bytes, path});
  } catch (const mattec::Error&) {
    // One clear error.
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const std::string digits(mattec::checksum_digits, '0');
  const std::string checksum = elf_object(std::string(archive_marker) + digits);
  const std::string symbols("\0\0\0\0", 4);  // none
  const std::string start = "!<arch>\n", long_name = "a_name_that_is_too_long_for_its_field.o/\n";
  const std::string small = start + member("/", symbols) + member("rvm_checksum.o/", checksum);
  return {start, sealed(small), sealed(small + member("odd.o/", elf_object("odd"))),
          sealed(start + member("/", symbols) + member("//", long_name) + member("/0", checksum))};
}

// The input as it is, and with the checksum that its bytes want: what is behind that is read too.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  read(bytes);
  if (mattec::find_checksum(bytes, archive_marker)) read(sealed(bytes));
  return 0;
}
