#include "targets/archive_members.h"

#include <llvm/Object/Archive.h>

#include <optional>

#include "base/checksum.h"
#include "base/error.h"
#include "base/read_file.h"
#include "targets/checksums.h"
#include "targets/llvm_error.h"

namespace mattec::targets {
namespace {

// "!<arch>\n", then per member a header of 60 bytes (its size in decimal at byte 48, "`\n" at the
// end), its content, and a byte of padding after an odd size.
void require_whole(const std::string& path, llvm::StringRef bytes) {
  if (!bytes.starts_with("!<arch>\n"))
    throw Error(path + ": is no static library; name the lib*.a that mattec compile wrote");
  constexpr uint64_t header_bytes = 60;
  uint64_t position = 8;
  while (position < bytes.size()) {
    const llvm::StringRef header = bytes.substr(position, header_bytes);
    uint64_t size = 0;
    if (header.size() < header_bytes || !header.ends_with("`\n") ||
        header.substr(48, 10).rtrim().getAsInteger(10, size) ||
        size > bytes.size() - position - header_bytes)
      throw Error(path + ": is cut off or damaged; compile it again");
    position += header_bytes + size + (size & 1);
  }
}

}  // namespace

std::string require_undamaged(const std::string& path, std::string_view bytes) {
  require_whole(path, bytes);
  const std::optional<Checksum> checksum = find_checksum(bytes, archive_marker);
  if (!checksum)
    throw Error(path +
                ": has no checksum of mattec's: it is damaged, or of another version; compile it "
                "again");
  if (!checksum->is_right())
    throw Error(path + ": is damaged: its bytes are not those that its checksum (" +
                checksum->written + ") was made of; compile it again");
  return checksum->written;
}

ArchiveFile read_archive(const std::string& path) {
  ArchiveFile file{read_file(path, most_model_bytes), {}};
  file.checksum = require_undamaged(path, file.bytes);
  return file;
}

std::vector<ArchiveMember> archive_members(const std::string& path, llvm::MemoryBufferRef bytes) {
  require_whole(path, bytes.getBuffer());
  const std::unique_ptr<llvm::object::Archive> archive =
      unwrap(path, "is a damaged static library", llvm::object::Archive::create(bytes));
  std::vector<ArchiveMember> members;
  llvm::Error walk = llvm::Error::success();
  for (const llvm::object::Archive::Child& child : archive->children(walk)) {
    const llvm::MemoryBufferRef content =
        unwrap(path, "damaged member", child.getMemoryBufferRef());
    const std::string name = content.getBufferIdentifier().str();
    const std::string place = "damaged member " + name;
    std::unique_ptr<llvm::object::ObjectFile> object =
        unwrap(path, place, llvm::object::ObjectFile::createObjectFile(content));
    if (!llvm::isa<llvm::object::ELFObjectFileBase>(object.get()))
      throw Error(std::string(path).append(": ").append(place).append(
          ": is no ELF object; mattec writes no other kind"));
    members.push_back({name, content, std::move(object)});
  }
  if (walk) throw Error(path + ": damaged archive: " + text_of(std::move(walk)));
  if (members.empty()) throw Error(path + ": holds no object file; compile it again");
  return members;
}

}  // namespace mattec::targets
