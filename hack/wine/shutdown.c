// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0
//
// shutdown.exe PROGRAM.EXE: tells every process of that name what Windows tells a
// container's process when the container is stopped, CTRL_SHUTDOWN_EVENT. Wine
// sends that event to nobody by itself. It is sent as Windows sends it: by a
// thread in the process that runs the system's own routine, which calls the
// process's handlers. Exits with 0 if a process was told.

#include <windows.h>
#include <tlhelp32.h>
#include <stdio.h>

static int tell(DWORD pid)
{
    // The library is at the same address in every process.
    LPTHREAD_START_ROUTINE routine =
        (LPTHREAD_START_ROUTINE)(void *)GetProcAddress(GetModuleHandleW(L"kernelbase.dll"), "CtrlRoutine");
    HANDLE process = OpenProcess(PROCESS_CREATE_THREAD | PROCESS_QUERY_INFORMATION | PROCESS_VM_OPERATION | PROCESS_VM_READ | PROCESS_VM_WRITE, FALSE, pid);
    HANDLE thread = routine && process ? CreateRemoteThread(process, NULL, 0, routine, (void *)CTRL_SHUTDOWN_EVENT, 0, NULL) : NULL;

    if (!thread)
        fprintf(stderr, "shutdown: process %lu: error %lu\n", pid, GetLastError());
    if (process)
        CloseHandle(process);
    return thread != NULL;
}

int wmain(int argc, wchar_t **argv)
{
    PROCESSENTRY32W entry = {.dwSize = sizeof entry};
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    int told = 0;
    BOOL more;

    if (argc != 2 || all == INVALID_HANDLE_VALUE)
        return 2;
    for (more = Process32FirstW(all, &entry); more; more = Process32NextW(all, &entry))
        if (!_wcsicmp(entry.szExeFile, argv[1]))
            told += tell(entry.th32ProcessID);
    return told ? 0 : 1;
}
