# What is installed. The man pages and the completion are made of the table of options, by a tool
# that is built for it. Components: "program", "view" (for people at a terminal), and
# "files" for the rest.
set(dist_source ${PROJECT_SOURCE_DIR}/dist)
set(dist_made ${PROJECT_BINARY_DIR}/dist)
set(dist_completion_dir ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

# For packagers. systemd looks in lib/ below the prefix, whatever the library directory is called.
set(ESCLUSA_CONFIG_DIR "" CACHE STRING "Where systemd's services have their configuration, if not /etc/esclusa")
set(ESCLUSA_UNIT_DIR lib/systemd/system CACHE STRING "Where systemd's units go, below the prefix")
set(ESCLUSA_SYSUSERS_DIR lib/sysusers.d CACHE STRING "Where the system user is defined, below the prefix")

# Of the machine that it is built for: older ones than 253 need a drop-in.
execute_process(COMMAND systemctl --version OUTPUT_VARIABLE dist_systemd ERROR_QUIET)
if(dist_systemd MATCHES "^systemd ([0-9]+)")
  set(dist_systemd ${CMAKE_MATCH_1})
else() # none here: an image that only builds
  set(dist_systemd 253)
  if(EXISTS /etc/os-release)
    file(STRINGS /etc/os-release dist_release REGEX "^VERSION_CODENAME=bookworm")
    if(dist_release)
      set(dist_systemd 252)
    endif()
  endif()
endif()
set(ESCLUSA_SYSTEMD_VERSION ${dist_systemd} CACHE STRING "Version of systemd that the units are for")

include(${dist_source}/paths.cmake)

add_executable(esclusa-generate src/generate.c)
target_link_libraries(esclusa-generate PRIVATE esclusa_core)
esclusa_warnings(esclusa-generate)

# Made for the configured prefix here, so that a template that is wrong ends the build; and again
# for the prefix that is installed to.
file(MAKE_DIRECTORY ${dist_made})
esclusa_text_words(${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_DOCDIR} dist_words)
set(dist_texts "")
function(esclusa_text name template)
  add_custom_command(
    OUTPUT ${dist_made}/${name}
    COMMAND esclusa-generate ${dist_source}/${template} ${dist_made}/${name} ${dist_words}
    DEPENDS esclusa-generate ${dist_source}/${template}
    VERBATIM)
  set(dist_texts ${dist_texts} ${dist_made}/${name} PARENT_SCOPE)
endfunction()
esclusa_text(esclusa.1 man/esclusa.1.in)
esclusa_text(esclusa.cfg.5 man/esclusa.cfg.5.in)
esclusa_text(esclusa completion/esclusa.bash.in)
add_custom_target(texts ALL DEPENDS ${dist_texts})

install(TARGETS esclusa RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
# Not in "program", which is all that an image has.
install(TARGETS esclusa-view RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/esclusa
        COMPONENT view)
install(
  CODE "
    set(DIST_SOURCE \"${dist_source}\")
    set(DIST_MADE \"${dist_made}\")
    set(GENERATE \"$<TARGET_FILE:esclusa-generate>\")
    set(ESCLUSA_CONFIG_DIR \"${ESCLUSA_CONFIG_DIR}\")
    set(BIN_DIR \"${CMAKE_INSTALL_BINDIR}\")
    set(DOC_DIR \"${CMAKE_INSTALL_DOCDIR}\")
    set(MAN_DIR \"${CMAKE_INSTALL_MANDIR}\")
    set(COMPLETION_DIR \"${dist_completion_dir}\")
    set(UNIT_DIR \"${ESCLUSA_UNIT_DIR}\")
    set(SYSTEMD_VERSION \"${ESCLUSA_SYSTEMD_VERSION}\")
  "
  COMPONENT files)
install(SCRIPT ${dist_source}/install.cmake COMPONENT files)
install(FILES ${dist_source}/sysusers/esclusa.conf DESTINATION ${ESCLUSA_SYSUSERS_DIR}
        COMPONENT files)

file(GLOB dist_documents CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
install(FILES ${dist_documents} ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/SECURITY.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT files)
install(
  DIRECTORY ${PROJECT_SOURCE_DIR}/config/
  DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples
  COMPONENT files
  FILES_MATCHING
  PATTERN *.cfg
  PATTERN *.inc)
install(DIRECTORY ${dist_source}/kubernetes ${dist_source}/container
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT files)

include(${dist_source}/package.cmake)
