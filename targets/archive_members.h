// The object files inside a static library.
#pragma once

#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>

#include <memory>
#include <string>
#include <vector>

namespace mattec::targets {

struct ArchiveMember {
  std::string name;
  llvm::MemoryBufferRef bytes;  // into the archive's
  std::unique_ptr<llvm::object::ObjectFile> object;
};

// Every object of the archive, in order; `bytes` must outlive the result. Checks that members lie
// inside the file, which LLVM's reader takes on trust. Throws Error naming `path` where the
// archive is damaged, empty, or holds anything but ELF objects.
std::vector<ArchiveMember> archive_members(const std::string& path, llvm::MemoryBufferRef bytes);

struct ArchiveFile {
  std::string bytes, checksum;
};

// The whole file, every byte of which is as it was written (checksums.h). Throws Error.
ArchiveFile read_archive(const std::string& path);

// The digits of its checksum. Throws Error naming `path` where `bytes` are no archive, or not the
// ones that were written. Before LLVM sees them: its readers are not made for damaged files.
std::string require_undamaged(const std::string& path, std::string_view bytes);

}  // namespace mattec::targets
