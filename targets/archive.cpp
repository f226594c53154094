// Renaming and archiving objects, by LLVM's object libraries.
#include <llvm/ObjCopy/CommonConfig.h>
#include <llvm/ObjCopy/ConfigManager.h>
#include <llvm/ObjCopy/ObjCopy.h>
#include <llvm/Object/ArchiveWriter.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>

#include "base/error.h"
#include "microkernels/embedded.h"
#include "runtime/embedded.h"
#include "targets/objects.h"

namespace mattec::targets {
namespace {

llvm::StringRef as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Unwraps LLVM's result; these inputs are our own, so a failure is a bug or a full memory.
template <typename T>
T value_of(llvm::Expected<T> result, const char* what) {
  if (!result) throw Error(std::string(what) + ": " + llvm::toString(result.takeError()));
  return std::move(*result);
}

// An embedded object with one symbol renamed.
Bytes rename_symbol(const runtime::Embedded& object, const std::string& from,
                    const std::string& to) {
  const llvm::MemoryBufferRef buffer(as_text(object.data, object.size), from);
  const std::unique_ptr<llvm::object::ObjectFile> file =
      value_of(llvm::object::ObjectFile::createObjectFile(buffer), "embedded object");
  llvm::objcopy::ConfigManager config;
  config.Common.SymbolsToRename[from] = to;
  llvm::SmallVector<char, 0> out;
  llvm::raw_svector_ostream stream(out);
  if (llvm::Error error = llvm::objcopy::executeObjcopyOnBinary(config, *file, stream))
    throw Error(from + ": " + llvm::toString(std::move(error)));
  return Bytes(out.begin(), out.end());
}

}  // namespace

Bytes rename_runtime(const std::string& prefix, const Target& target) {
  return rename_symbol(runtime::runtime_object(target.architecture, target.is_hosted),
                       "mattec_runtime_functions", prefix + "_functions");
}

std::string microkernel_symbol(const std::string& prefix, const std::string& name) {
  return prefix + "_accumulate_" + name;
}

Bytes rename_microkernel(const std::string& prefix, const std::string& name) {
  return rename_symbol(microkernels::object(name), "accumulate_" + name,
                       microkernel_symbol(prefix, name));
}

Bytes make_archive(const std::vector<Object>& members) {
  std::vector<llvm::NewArchiveMember> list;
  list.reserve(members.size());
  for (const Object& member : members)
    list.emplace_back(
        llvm::MemoryBufferRef(as_text(member.bytes.data(), member.bytes.size()), member.name));
  const std::unique_ptr<llvm::MemoryBuffer> archive =
      value_of(llvm::writeArchiveToBuffer(list, llvm::SymtabWritingMode::NormalSymtab,
                                          llvm::object::Archive::K_GNU, true, false),
               "archive");
  const auto* first = reinterpret_cast<const uint8_t*>(archive->getBufferStart());
  return Bytes(first, first + archive->getBufferSize());
}

}  // namespace mattec::targets
